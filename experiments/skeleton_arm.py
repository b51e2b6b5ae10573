"""The ControlNet arm: hands as an image of their skeleton, instead of states for cross-attention.

The ControlNet is diffusers' own, a copy of the U-Net's encoder, and is trained together with the U-Net and the text
tower, on the same batches and noise as the other arms. Where they lose their hands (guidance, hand dropout), it gets a
black image; so guidance strengthens caption and hands here as it does there.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from condition_cache import cache_conditions
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn

from diffusers_handiffuser import HanDiffuserControlNetPipeline
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.body_model import load_body_model
from diffusers_handiffuser.models import TextHandEncoder
from diffusers_handiffuser.training.engine.publishing import finish_run
from diffusers_handiffuser.training.engine.randomness import BatchRandom
from diffusers_handiffuser.training.engine.run import TrainingRun, start_run
from diffusers_handiffuser.training.engine.weights import save_model
from diffusers_handiffuser.training.hand_params_to_image import trainer
from diffusers_handiffuser.training.hand_params_to_image.joint_head import (
    JointHead,
    JointLogits,
    last_features,
    new_joint_head,
)
from diffusers_handiffuser.training.hand_params_to_image.loss import ImageLoss
from diffusers_handiffuser.training.hand_params_to_image.models import load_image_models, make_fast
from diffusers_handiffuser.training.hand_params_to_image.rows import CachedDataset, tokenize

CONTROLNET = "controlnet"
CONDITION_CHANNELS = (16, 32, 96, 256)
"""ControlNet's; as many of them as the VAE has levels bring an image to the size of its latents."""


def draw_skeletons(hand_params: HandParams, body_model: HandBodyModel, size: int) -> torch.Tensor:
    """OpenPose skeletons `(B, 3, size, size)`, uint8, of B rows; black where no hand is visible.

    Of people they show neck and arms too, as the openpose ControlNets know them: a little more than other arms get.
    """
    images: Any = hand_params.to_condition("openpose", size, body_model, style="scaled")
    skeletons = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    return skeletons * hand_params.hand_visible.any(-1).cpu()[:, None, None, None]


class SkeletonObjective(nn.Module):
    """The U-Net's prediction for noisy latents, given tokens and skeletons; what `ImageLoss` calls.

    A joint head, if there is one, reads the U-Net's features alone: here no states tell of joints.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: TextHandEncoder,
        controlnet: ControlNetModel,
        joint_head: JointHead | None = None,
    ):
        super().__init__()
        self.unet, self.text_encoder, self.controlnet = unet, text_encoder, controlnet
        self.joint_head = joint_head

    def forward(
        self,
        noisy_latents: torch.Tensor,
        timesteps: torch.Tensor,
        input_ids: torch.Tensor,
        hand_skeleton: torch.Tensor,
        hand_visible: torch.Tensor,
        **other_hands: torch.Tensor,
    ) -> torch.Tensor | tuple[torch.Tensor, JointLogits]:
        """`hand_skeleton (B, 3, H, W)` in [0, 255]; it is black where `hand_visible (B, 2)` has become false."""
        states = self.text_encoder(input_ids).last_hidden_state
        condition = hand_skeleton / 255 * hand_visible.any(1)[:, None, None, None]
        down, middle = self.controlnet(noisy_latents, timesteps, states, condition, return_dict=False)
        with last_features(self.unet) as features:
            prediction = self.unet(
                noisy_latents,
                timesteps,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        return prediction if self.joint_head is None else (prediction, self.joint_head(features[0]))


class SkeletonPipeline(HanDiffuserControlNetPipeline):
    """Its unconditional side has a black image, as in training."""

    def prepare_image(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        image = super().prepare_image(*args, **kwargs)
        if kwargs["do_classifier_free_guidance"]:
            image[: len(image) // 2] = 0
        return image


def train_with_skeletons(argv: Sequence[str]) -> None:
    """As the trainer's `main`, with a ControlNet; `controlnet/` lies inside the pipeline that it writes."""
    options = trainer.parse_args(argv)
    accelerator = start_run(options, find_unused_parameters=True)
    torch.manual_seed(options.run.seed)
    models = load_image_models(options.models, options.schedule, options.images.resolution)
    body_model = load_body_model(options.models.body_model)
    make_fast(models.unet, accelerator)
    channels = CONDITION_CHANNELS[: len(models.vae.config.block_out_channels)]
    controlnet = ControlNetModel.from_unet(models.unet, conditioning_embedding_out_channels=channels)
    source, num_train, _ = trainer.open_data(options, accelerator, models, body_model)
    assert isinstance(source, CachedDataset)
    skeletons = cache_conditions("skeletons", draw_skeletons, options, body_model, accelerator)
    source.arrays["hand_skeleton"] = skeletons.reshape(-1, *skeletons.shape[2:])

    trained = {"unet": models.unet, "text_encoder": models.text_encoder, CONTROLNET: controlnet}
    joint_head = None
    if options.loss.joint_loss_weight > 0:
        joint_head = trained["joint_finder"] = new_joint_head(models.unet, options.loss.palm_loss_weight > 0)
    make_fast(controlnet, accelerator)
    objective = SkeletonObjective(models.unet, models.text_encoder, controlnet, joint_head)
    empty_ids = tokenize(models.tokenizer, [""])
    loss = ImageLoss(options.loss, options.conditions, models.noise_scheduler, empty_ids, accelerator.device)
    loss.keep_in_checkpoints(accelerator)
    run = TrainingRun(options, accelerator, objective, trained, num_train)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if options.images.random_flip else None
        return loss(run.objective, source.batch(rows, mirror, run.following_rows), random)

    run.train(compute_loss)

    def save(whole: SkeletonObjective, facts: dict[str, str]) -> None:
        trained_models = replace(models, unet=whole.unet.eval(), text_encoder=whole.text_encoder.eval())
        trainer.save_pipeline(options, trained_models, body_model, facts)
        save_model(whole.controlnet.eval(), run.output_dir / CONTROLNET)

    base_model = options.models.pretrained_model_name_or_path
    finish_run(run, "hand_params_to_image", argv, save, data=options.data, hub=options.hub, base_model=base_model)


def load_skeleton_pipeline(pipeline: Any, folder: Path) -> SkeletonPipeline:
    """The pipeline of a folder together with the ControlNet that lies in it."""
    controlnet = ControlNetModel.from_pretrained(folder, subfolder=CONTROLNET)
    return SkeletonPipeline(**pipeline.components, controlnet=controlnet, requires_safety_checker=False)
