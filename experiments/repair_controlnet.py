r"""A small ControlNet for `depth_hand` images, trained on the studio for a model that stays as it is.

    handiffuser data make train --num 16000 --seed 0
    python experiments/repair_controlnet.py --init_from MODEL --pretrained_vae_model_name_or_path MODEL/vae \
        --tokenizer_name MODEL/tokenizer --train_data_dir train --output_dir controlnet --resolution 128 ...

The options are those of `python -m diffusers_handiffuser.training.hand_params_to_image`; U-Net and text encoder of
`--init_from` are frozen. As in `HanDiffuserControlNetPipeline`, the U-Net is given caption and hands, the ControlNet
the caption and the image, the latter on both sides of guidance. The result is the folder `controlnet` in
`--output_dir`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from condition_cache import cache_conditions
from diffusers import ControlNetModel, UNet2DConditionModel
from skeleton_arm import CONDITION_CHANNELS
from torch import nn

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.body_model import load_body_model
from diffusers_handiffuser.models import TextHandEncoder
from diffusers_handiffuser.pipelines.hand_encoding import caption_states
from diffusers_handiffuser.rendering.hand_depth import draw_hand_depth
from diffusers_handiffuser.training.engine.randomness import BatchRandom
from diffusers_handiffuser.training.engine.run import TrainingRun, start_run
from diffusers_handiffuser.training.engine.weights import save_model
from diffusers_handiffuser.training.hand_params_to_image import trainer
from diffusers_handiffuser.training.hand_params_to_image.loss import ImageLoss
from diffusers_handiffuser.training.hand_params_to_image.models import load_image_models, make_fast
from diffusers_handiffuser.training.hand_params_to_image.rows import CachedDataset, tokenize
from diffusers_handiffuser.utils.command_line import run_as_command

CONDITION = "hand_depth"


def draw_depths(hand_params: HandParams, body_model: HandBodyModel, size: int) -> torch.Tensor:
    """`depth_hand` images `(B, 3, size, size)`, uint8, of B rows."""
    images = draw_hand_depth(hand_params, body_model, size, size)
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


class DepthObjective(nn.Module):
    """The frozen U-Net's prediction for noisy latents with a ControlNet's help; what `ImageLoss` calls.

    Args:
        unet, text_encoder: of stage 2; frozen here.
        controlnet (`ControlNetModel`): is trained.
    """

    def __init__(self, unet: UNet2DConditionModel, text_encoder: TextHandEncoder, controlnet: ControlNetModel):
        super().__init__()
        self.unet, self.text_encoder = unet.requires_grad_(False), text_encoder.requires_grad_(False)
        self.controlnet = controlnet

    def forward(
        self,
        noisy_latents: torch.Tensor,
        timesteps: torch.Tensor,
        input_ids: torch.Tensor,
        hand_depth: torch.Tensor,
        **hands: torch.Tensor,
    ) -> torch.Tensor:
        """The prediction, given `hand_depth (B, 3, H, W)` in [0, 255], which no dropout touches."""
        states = self.text_encoder(input_ids, **hands).last_hidden_state
        captions = caption_states(states, self.text_encoder)
        down, middle = self.controlnet(noisy_latents, timesteps, captions, hand_depth / 255, return_dict=False)
        return self.unet(
            noisy_latents,
            timesteps,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample


def main(argv: Sequence[str] | None = None) -> None:
    options = trainer.parse_args(argv)
    if options.loss.joint_loss_weight > 0:
        raise ValueError("--joint_loss_weight must be 0: a frozen U-Net has no features to train")
    accelerator = start_run(options)
    torch.manual_seed(options.run.seed)
    models = load_image_models(options.models, options.schedule, options.images.resolution)
    body_model = load_body_model(options.models.body_model)
    channels = CONDITION_CHANNELS[: len(models.vae.config.block_out_channels)]
    controlnet = ControlNetModel.from_unet(models.unet, conditioning_embedding_out_channels=channels)
    make_fast(models.unet, accelerator)
    make_fast(controlnet, accelerator)
    source, num_train, _ = trainer.open_data(options, accelerator, models, body_model)
    assert isinstance(source, CachedDataset)
    depths = cache_conditions(CONDITION, draw_depths, options, body_model, accelerator)
    source.arrays[CONDITION] = depths.reshape(-1, *depths.shape[2:])

    objective = DepthObjective(models.unet, models.text_encoder, controlnet)
    empty_ids = tokenize(models.tokenizer, [""])
    loss = ImageLoss(options.loss, options.conditions, models.noise_scheduler, empty_ids, accelerator.device)
    loss.keep_in_checkpoints(accelerator)
    run = TrainingRun(options, accelerator, objective, {"controlnet": controlnet}, num_train)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if options.images.random_flip else None
        return loss(run.objective, source.batch(rows, mirror, run.following_rows), random)

    run.train(compute_loss)
    with run.whole_objective() as whole:
        if whole is not None:
            save_model(whole.controlnet.eval(), run.output_dir / "controlnet")
    run.close()


if __name__ == "__main__":
    run_as_command(main)
