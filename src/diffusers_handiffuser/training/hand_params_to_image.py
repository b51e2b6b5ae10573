"""Trains stage 2: U-Net and Text+Hand encoder, from captions, hands and pictures.

From Stable Diffusion 1.x, as in the paper (everything but the VAE is trained):

    python -m diffusers_handiffuser.training.hand_params_to_image --pretrained_model_name_or_path SD \\
        --train_data_dir DATA --output_dir OUT --resolution 512 --max_train_steps 100000 --use_ema

From nothing, a small model:

    python -m diffusers_handiffuser.training.hand_params_to_image --pretrained_vae_model_name_or_path VAE/vae \\
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --use_ema \\
        --max_train_minutes 600

The VAE's latents and the hands' geometry are computed once and cached on disk: neither the VAE nor the body model
takes part in the training loop. With `--text_to_hand_params_dir`, `OUT` is a whole `HanDiffuserPipeline`; without it,
one that needs `hand_params`.
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from ..command_line import run_as_command
from ..hands import HandBodyModel, HandParams
from ..model_card import training_facts
from ..models import TextHandEncoder, TextToHandParamsModel
from .dataset import HandDataset, cached_array, swap_sides
from .losses import min_snr_weights
from .options import add_data_options, add_training_options, check_training_options, json_option
from .run import TrainingRun, load_model, start_run
from .vae import save_grid, to_unit_range

SMALL_UNET = {
    "block_out_channels": [48, 96, 160, 224],
    "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}
"""U-Net of a small model on 32 x 32 latents; sizes that follow from VAE and encoder are filled in."""

SMALL_TEXT_ENCODER = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hand_hidden_size": 256,
}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.hand_params_to_image",
        description="Train stage 2: text and hands to a picture (U-Net and Text+Hand encoder).",
    )
    add_data_options(parser)
    add_training_options(parser, checkpointing_steps=1000)

    group = parser.add_argument_group("what to start from")
    group.add_argument(
        "--pretrained_model_name_or_path",
        help="Stable Diffusion 1.x or HanDiffuser pipeline, a folder or Hub id; without it, models start from nothing",
    )
    group.add_argument("--revision", help="revision of the Hub model")
    group.add_argument("--variant", help='variant of the model files, e.g. "fp16"')
    group.add_argument("--pretrained_vae_model_name_or_path", help="another VAE: its folder, or one with vae/ inside")
    group.add_argument("--tokenizer_name", help="another tokenizer: its folder")
    group.add_argument(
        "--unet_config",
        type=json_option,
        default={},
        help="JSON (or file): changes to the small U-Net's configuration",
    )
    group.add_argument(
        "--text_encoder_config", type=json_option, default={}, help="the same for the Text+Hand encoder"
    )
    group.add_argument(
        "--init_from",
        help="take the weights (only) of unet/ and text_encoder/, or of the one that this folder holds; of a "
        "checkpoint, the averaged ones",
    )
    group.add_argument("--body_model", help="SMPL-H file (default: the body that ships with the package)")
    group.add_argument("--text_to_hand_params_dir", help="output folder of stage 1, to make a whole pipeline")

    group = parser.add_argument_group("pictures and conditions")
    group.add_argument("--resolution", type=int, default=512, help="pictures are resized to this many pixels a side")
    group.add_argument(
        "--random_flip",
        action="store_true",
        help="also train on mirrored rows: picture, hands and the words left/right",
    )
    group.add_argument(
        "--encode_batch_size", type=int, default=16, help="pictures per batch when latents are computed"
    )
    group.add_argument(
        "--cache_on_device", action="store_true", help="keep all latents and geometry in the memory of the device"
    )
    group.add_argument(
        "--condition_dropout", type=float, default=0.1, help='part of the rows that get "" and no hands, for guidance'
    )
    group.add_argument(
        "--hand_dropout", type=float, default=0.05, help="part of the rows that keep their caption but get no hands"
    )
    group.add_argument(
        "--text_only_steps",
        type=float,
        default=0.0,
        help="part of the steps that use the caption's 77 states alone, what hand_conditioning_scale=0 samples with",
    )
    group.add_argument(
        "--joint_jitter",
        type=float,
        default=0.0,
        help="standard deviation of noise on the 2D joints, in units of half a picture; each row gets 0 to 1 times it",
    )

    group = parser.add_argument_group("diffusion")
    group.add_argument(
        "--prediction_type",
        choices=("epsilon", "v_prediction"),
        help="default: the pretrained scheduler's, or epsilon",
    )
    group.add_argument("--beta_schedule", help="default: the pretrained scheduler's, or scaled_linear")
    group.add_argument("--beta_start", type=float, help="default: the pretrained scheduler's, or 0.00085")
    group.add_argument("--beta_end", type=float, help="default: the pretrained scheduler's, or 0.012")
    group.add_argument(
        "--rescale_betas_zero_snr", action="store_true", help="zero terminal SNR (Lin et al. 2023); needs v_prediction"
    )
    group.add_argument("--snr_gamma", type=float, help="min-SNR loss weights (Hang et al. 2023); 5.0 is recommended")
    group.add_argument("--noise_offset", type=float, default=0.0)
    group.add_argument(
        "--timestep_bias_strategy",
        choices=("none", "later", "earlier"),
        default="none",
        help="draw the noisiest (later) or the cleanest (earlier) steps more often; what a caption says of the whole "
        "picture is learned at the noisiest",
    )
    group.add_argument("--timestep_bias_multiplier", type=float, default=1.0, help="how many times as often")
    group.add_argument("--timestep_bias_portion", type=float, default=0.25, help="the part of the steps that is meant")

    group = parser.add_argument_group("validation and result")
    group.add_argument("--validation_prompts", nargs="+", help="sampled through both stages; needs the stage-1 folder")
    group.add_argument(
        "--num_validation_images", type=int, default=8, help="pictures of held-out rows, with their hands"
    )
    group.add_argument("--inference_scheduler", default="DPMSolverMultistepScheduler", help="diffusers class to save")
    group.add_argument("--default_num_inference_steps", type=int, help="saved with the pipeline, used in validation")
    group.add_argument("--default_guidance_scale", type=float, help="saved with the pipeline, used in validation")
    group.add_argument("--default_num_hand_inference_steps", type=int, help="saved with the pipeline")
    group.add_argument("--default_hand_guidance_scale", type=float, help="saved with the pipeline")

    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.pretrained_model_name_or_path is None:
        for name in ("pretrained_vae_model_name_or_path", "tokenizer_name"):
            if getattr(args, name) is None:
                parser.error(f"without --pretrained_model_name_or_path, --{name} is needed")
    if args.validation_prompts and args.text_to_hand_params_dir is None:
        parser.error("--validation_prompts needs --text_to_hand_params_dir")
    if not hasattr(diffusers, args.inference_scheduler):
        parser.error(f"--inference_scheduler: diffusers has no {args.inference_scheduler}")
    if args.timestep_bias_multiplier <= 0:
        parser.error(f"--timestep_bias_multiplier must be positive, but is {args.timestep_bias_multiplier}")
    for name in ("condition_dropout", "hand_dropout", "text_only_steps", "timestep_bias_portion"):
        if not 0 <= getattr(args, name) <= 1:
            parser.error(f"--{name} must lie in [0, 1], but is {getattr(args, name)}")
    return args


def load_components(args: argparse.Namespace):
    """(vae, tokenizer, text_encoder, unet, noise scheduler) as the options ask."""
    base = args.pretrained_model_name_or_path
    hub = {"revision": args.revision, "variant": args.variant}

    if args.tokenizer_name is not None:
        tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer_name)
    else:
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", revision=args.revision)

    if args.pretrained_vae_model_name_or_path is None:
        vae = AutoencoderKL.from_pretrained(base, subfolder="vae", **hub)
    else:
        vae = load_vae(args.pretrained_vae_model_name_or_path)

    if base is not None:
        text_encoder = load_text_encoder(base, args.text_encoder_config, **hub)
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", **hub)
    else:
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        text_encoder = new_text_encoder(args.text_encoder_config, tokenizer)
        unet = UNet2DConditionModel.from_config(
            {
                **SMALL_UNET,
                **args.unet_config,
                "sample_size": args.resolution // factor,
                "in_channels": vae.config.latent_channels,
                "out_channels": vae.config.latent_channels,
                "cross_attention_dim": text_encoder.config.hidden_size,
            }
        )
    return vae, tokenizer, text_encoder.float(), unet.float(), load_noise_scheduler(args)


def load_vae(folder: str) -> AutoencoderKL:
    """The VAE in a folder, or in `vae/` inside it."""
    inside = (Path(folder) / "vae" / "config.json").is_file()
    return AutoencoderKL.from_pretrained(folder, subfolder="vae" if inside else None)


def new_text_encoder(config: dict, tokenizer: CLIPTokenizer) -> TextHandEncoder:
    """A small Text+Hand encoder for a tokenizer, with fresh weights; `config` changes the small configuration."""
    return TextHandEncoder.from_config(
        {
            **SMALL_TEXT_ENCODER,
            **config,
            "vocab_size": len(tokenizer),
            "eos_token_id": tokenizer.eos_token_id,
            "max_position_embeddings": tokenizer.model_max_length,
        }
    )


def load_text_encoder(base: str, hand_config: dict, revision=None, variant=None) -> TextHandEncoder:
    """The Text+Hand encoder of a HanDiffuser pipeline, or one that starts from a Stable Diffusion pipeline's CLIP."""
    config = TextHandEncoder.load_config(base, subfolder="text_encoder", revision=revision)
    if config.get("_class_name") == "TextHandEncoder":
        return TextHandEncoder.from_pretrained(base, subfolder="text_encoder", revision=revision, variant=variant)
    clip = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", revision=revision, variant=variant)
    return TextHandEncoder.from_clip(clip, **hand_config)


def load_noise_scheduler(args: argparse.Namespace) -> DDPMScheduler:
    """The pretrained pipeline's noise schedule, or Stable Diffusion's, with the changes that the options ask for."""
    if args.pretrained_model_name_or_path is not None:
        scheduler = DDPMScheduler.from_pretrained(
            args.pretrained_model_name_or_path, subfolder="scheduler", revision=args.revision
        )
        config = dict(scheduler.config)
    else:
        config = {
            "num_train_timesteps": 1000,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": "epsilon",
            "clip_sample": False,
            "steps_offset": 1,
        }
    for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type"):
        if getattr(args, name) is not None:
            config[name] = getattr(args, name)
    if args.rescale_betas_zero_snr:
        config.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    if config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon":
        raise ValueError(
            "`rescale_betas_zero_snr` needs --prediction_type v_prediction: pure noise says nothing of epsilon"
        )
    return DDPMScheduler.from_config(config)


def load_initial_weights(folder: Path, models: dict[str, torch.nn.Module]) -> None:
    """Loads those models that the folder holds; of a checkpoint, the averaged weights."""
    found = {}
    for name in models:
        places = [place for place in (folder / f"{name}_ema", folder / name) if place.is_dir()]
        found.update({name: places[0]} if places else {})
    if not found:
        raise FileNotFoundError(f"`init_from`: {folder} holds none of the folders {', '.join(models)}")
    for name, place in found.items():
        load_model(models[name], place)


def weights_hash(model: torch.nn.Module) -> str:
    """Short hash of a model's weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


class _Progress:
    """Prints at most one line in fifteen seconds."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.start = what, total, time.monotonic()
        self.shown = self.start

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.shown > 15:
            self.shown = now
            print(f"{self.what}: {done}/{self.total}, {done / (now - self.start):.1f} per second", flush=True)


@torch.no_grad()
def cache_latents(
    dataset: HandDataset, vae: AutoencoderKL, resolution: int, flip: bool, cache_dir: Path, batch_size: int, device
) -> np.ndarray:
    """Latents of all rows, float16 (1 or 2, N, C, h, w): posterior mode times `scaling_factor`; [1] is mirrored."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if resolution % factor:
        raise ValueError(f"`resolution` must be divisible by {factor}, but is {resolution}")
    side = resolution // factor
    mirrored = (False, True) if flip else (False,)
    shape = (len(mirrored), len(dataset), vae.config.latent_channels, side, side)
    vae = vae.to(device).eval()

    def fill(array: np.ndarray) -> None:
        pictures = dataset.images(resolution, cache_dir)
        progress = _Progress("latents", array.shape[0] * len(dataset))
        for number, mirror in enumerate(mirrored):
            for start in range(0, len(dataset), batch_size):
                batch = to_unit_range(pictures[start : start + batch_size], device)
                latents = (
                    vae.encode(batch.flip(-1) if mirror else batch).latent_dist.mode() * vae.config.scaling_factor
                )
                array[number, start : start + batch_size] = latents.float().cpu().numpy()
                progress(number * len(dataset) + start)

    key = f"latents-{dataset.fingerprint}-{resolution}-{weights_hash(vae)}-{len(mirrored)}.npy"
    return cached_array(cache_dir / key, shape, np.float16, fill)


@torch.no_grad()
def cache_geometry(
    dataset: HandDataset,
    body_model: HandBodyModel,
    text_encoder: TextHandEncoder,
    flip: bool,
    cache_dir: Path,
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """What the encoder reads of all rows' hands, each (1 or 2, N, ...); [1] is mirrored. Distances as float16."""
    both = [dataset.hand_params, dataset.hand_params.mirror()] if flip else [dataset.hand_params]
    parts = {
        "hand_rotations": ((2, 16, 3, 3), np.float32),
        "hand_bps": ((2, text_encoder.config.num_basis_points), np.float16),
        "hand_joints_2d": ((2, 21, 2), np.float32),
    }
    basis = hashlib.sha256(text_encoder.basis_points.cpu().numpy().tobytes()).hexdigest()[:8]
    key = (
        f"{dataset.fingerprint}-{weights_hash(body_model)}-{basis}-{text_encoder.config.basis_radius}-{len(both)}.npy"
    )
    paths = {name: cache_dir / f"{name}-{key}" for name in parts}

    if not all(path.is_file() for path in paths.values()):
        computed = {name: np.empty((len(both), len(dataset), *shape), dtype) for name, (shape, dtype) in parts.items()}
        progress = _Progress("hand geometry", len(both) * len(dataset))
        for number, hands in enumerate(both):
            for start in range(0, len(dataset), batch_size):
                rows = hands[start : start + batch_size]
                prepared = text_encoder.prepare_hands(body_model(rows), rows.hand_visible)
                for name in parts:
                    computed[name][number, start : start + batch_size] = prepared[name].numpy()
                progress(number * len(dataset) + start)
        for name, path in paths.items():
            cached_array(
                path, computed[name].shape, computed[name].dtype, lambda array, n=name: np.copyto(array, computed[n])
            )
    return {
        name: cached_array(paths[name], (len(both), len(dataset), *shape), dtype, lambda array: None)
        for name, (shape, dtype) in parts.items()
    }


class TrainingRows:
    """What the loop needs of all rows, as arrays over [rows, mirrored rows], gathered into batches on the device.

    Args:
        arrays (`dict[str, np.ndarray]`): latents and geometry, each (1 or 2, N, ...).
        input_ids (`torch.Tensor` of shape (1 or 2, N, 77)): tokens of the captions.
        hand_visible (`torch.Tensor` of shape (1 or 2, N, 2), bool).
        on_device (`bool`): keep all of it on the device instead of on disk.
    """

    def __init__(self, arrays: dict, input_ids: torch.Tensor, hand_visible: torch.Tensor, device, on_device: bool):
        self.mirrored, self.num_rows = input_ids.shape[:2]
        self.device = device
        flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in arrays.items()}
        self.arrays = {n: torch.from_numpy(np.array(a)).to(device) for n, a in flat.items()} if on_device else flat
        self.input_ids = input_ids.flatten(0, 1).to(device)
        self.hand_visible = hand_visible.flatten(0, 1).to(device)

    def batch(self, rows: np.ndarray, mirror: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Rows as float32 tensors; `mirror` (B,) bool says which of them mirrored."""
        places = torch.as_tensor(np.asarray(rows), dtype=torch.long)
        if mirror is not None and self.mirrored == 2:
            places = places + self.num_rows * mirror.cpu().long()
        on_device = places.to(self.device)
        batch = {"input_ids": self.input_ids[on_device], "hand_visible": self.hand_visible[on_device]}
        for name, array in self.arrays.items():
            if isinstance(array, np.ndarray):
                batch[name] = torch.from_numpy(array[places.numpy()]).to(self.device).float()
            else:
                batch[name] = array[on_device].float()
        return batch


def load_training_rows(
    args: argparse.Namespace, dataset: HandDataset, vae, body_model, text_encoder, tokenizer, device
) -> TrainingRows:
    """Latents, hand geometry and tokens of a data set, from the caches or into them."""
    cache_dir = Path(args.cache_dir or Path(args.train_data_dir) / ".cache")
    latents = cache_latents(dataset, vae, args.resolution, args.random_flip, cache_dir, args.encode_batch_size, device)
    geometry = cache_geometry(dataset, body_model, text_encoder, args.random_flip, cache_dir)
    ids, visible = [tokenize(tokenizer, dataset.texts)], [dataset.hand_params.hand_visible]
    if args.random_flip:
        ids.append(tokenize(tokenizer, [swap_sides(text) for text in dataset.texts]))
        visible.append(visible[0].flip(-1))
    arrays = {"latents": latents, **geometry}
    return TrainingRows(arrays, torch.stack(ids), torch.stack(visible), device, args.cache_on_device)


class ImageObjective(torch.nn.Module):
    """The U-Net's prediction for noisy latents, given tokens and hands."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: TextHandEncoder):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noisy_latents, timesteps, input_ids, **hands) -> torch.Tensor:
        states = self.text_encoder(input_ids, **hands).last_hidden_state
        return self.unet(noisy_latents, timesteps, states).sample


def timestep_chances(args: argparse.Namespace, num_timesteps: int) -> torch.Tensor:
    """Cumulative chances `(num_timesteps,)` of the timesteps; uniform unless the options ask for a bias."""
    weights = torch.ones(num_timesteps, dtype=torch.float64)
    number = int(args.timestep_bias_portion * num_timesteps)
    if args.timestep_bias_strategy != "none" and number:
        meant = slice(-number, None) if args.timestep_bias_strategy == "later" else slice(number)
        weights[meant] *= args.timestep_bias_multiplier
    return (weights / weights.sum()).cumsum(0).float()


def drop_conditions(
    batch: dict[str, torch.Tensor],
    chance: torch.Tensor,
    empty_ids: torch.Tensor,
    condition_dropout: float,
    hand_dropout: float,
) -> dict[str, torch.Tensor]:
    """Rows with chance < condition_dropout lose caption and hands, the next `hand_dropout` of them the hands alone."""
    everything = chance < condition_dropout
    hands = chance < condition_dropout + hand_dropout
    return {
        **batch,
        "input_ids": torch.where(everything[:, None], empty_ids, batch["input_ids"]),
        "hand_visible": batch["hand_visible"] & ~hands[:, None],
    }


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(N, 77) token numbers, as Stable Diffusion pads and truncates."""
    return tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids


def load_body_model(path: str | None) -> HandBodyModel:
    return HandBodyModel.procedural() if path is None else HandBodyModel.from_smplh(path)


def build_pipeline(args, vae, tokenizer, text_encoder, unet, noise_scheduler, body_model):
    """The trained models as a `HanDiffuserPipeline`, with stage 1 if its folder is given."""
    from ..pipelines import HanDiffuserPipeline

    scheduler = getattr(diffusers, args.inference_scheduler).from_config(noise_scheduler.config)
    stage_1 = {}
    if args.text_to_hand_params_dir is not None:
        folder = Path(args.text_to_hand_params_dir)
        stage_1 = {
            "hand_tokenizer": CLIPTokenizer.from_pretrained(folder / "hand_tokenizer"),
            "hand_text_encoder": CLIPTextModel.from_pretrained(folder / "hand_text_encoder"),
            "text_to_hand_params": TextToHandParamsModel.from_pretrained(folder / "text_to_hand_params"),
            "text_to_hand_scheduler": DDIMScheduler.from_pretrained(folder / "text_to_hand_scheduler"),
        }
    pipeline = HanDiffuserPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        body_model=body_model,
        requires_safety_checker=False,
        default_num_inference_steps=args.default_num_inference_steps,
        default_guidance_scale=args.default_guidance_scale,
        default_num_hand_inference_steps=args.default_num_hand_inference_steps,
        default_hand_guidance_scale=args.default_hand_guidance_scale,
        **stage_1,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main(argv=None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    device = accelerator.device
    dataset = HandDataset(args.train_data_dir, args.max_train_samples, need_images=True)
    num_train = len(dataset) - args.num_validation_rows
    if num_train < 1:
        raise ValueError(f"`num_validation_rows` ({args.num_validation_rows}) leaves none of {len(dataset)} rows")

    torch.manual_seed(args.seed)
    vae, tokenizer, text_encoder, unet, noise_scheduler = load_components(args)
    unet = unet.to(memory_format=torch.channels_last)
    if args.init_from is not None:
        load_initial_weights(Path(args.init_from), {"unet": unet, "text_encoder": text_encoder})
    vae.requires_grad_(False)
    body_model = load_body_model(args.body_model)

    data = load_training_rows(args, dataset, vae, body_model, text_encoder, tokenizer, device)
    empty_ids = tokenize(tokenizer, [""]).to(device)

    objective = ImageObjective(unet, text_encoder)
    run = TrainingRun(args, accelerator, objective, {"unet": unet, "text_encoder": text_encoder}, num_train)
    num_timesteps = noise_scheduler.config.num_train_timesteps
    chances = timestep_chances(args, num_timesteps).to(device)

    def losses_of(batch, noise, timesteps, text_only):
        clean = batch["latents"]
        noisy = noise_scheduler.add_noise(clean, noise, timesteps)
        if noise_scheduler.config.prediction_type == "v_prediction":
            target = noise_scheduler.get_velocity(clean, noise, timesteps)
        else:
            target = noise
        hands = {} if text_only else {name: value for name, value in batch.items() if name.startswith("hand_")}
        prediction = run.objective(noisy, timesteps, batch["input_ids"], **hands)
        errors = (prediction.float() - target).square().mean((1, 2, 3))
        return errors * min_snr_weights(noise_scheduler, timesteps, args.snr_gamma), errors

    def compute_loss(rows, random):
        text_only = random.one_uniform() < args.text_only_steps
        batch = data.batch(rows, random.uniform() < 0.5 if args.random_flip else None)
        batch = drop_conditions(batch, random.uniform(), empty_ids, args.condition_dropout, args.hand_dropout)
        if args.joint_jitter > 0:
            amount = args.joint_jitter * random.uniform(1, 1, 1)
            batch["hand_joints_2d"] = batch["hand_joints_2d"] + amount * random.normal(2, 21, 2)
        noise = random.normal(*batch["latents"].shape[1:])
        if args.noise_offset > 0:
            noise = noise + args.noise_offset * random.normal(noise.shape[1], 1, 1)
        timesteps = random.integers(num_timesteps)
        if args.timestep_bias_strategy != "none":
            timesteps = torch.searchsorted(chances, random.uniform()).clamp(max=num_timesteps - 1)
        weighted, errors = losses_of(batch, noise, timesteps, text_only)
        return {"loss": weighted.mean(), "mse": errors.mean()}

    def validate():
        held_out = np.arange(num_train, len(dataset))
        if not len(held_out):
            return {}
        numbers = held_out_loss(held_out)
        pipeline = build_pipeline(args, vae, tokenizer, text_encoder, unet, noise_scheduler, body_model).to(device)
        shown = held_out[np.linspace(0, len(held_out) - 1, min(args.num_validation_images, len(held_out))).astype(int)]

        def sample(prompts: list[str], hands: HandParams | None) -> np.ndarray:
            generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
            pictures = pipeline(prompts, hand_params=hands, generator=generators, output_type="np").images
            return np.clip(np.rint(pictures * 255), 0, 255).astype(np.uint8)

        originals = np.stack([dataset.load_image(row, args.resolution) for row in shown])
        sampled = sample(
            [dataset.texts[row] for row in shown], dataset.hand_params[torch.from_numpy(shown)].to(device)
        )
        save_grid([originals, sampled], run.sample_path("held-out"))
        if args.validation_prompts:
            save_grid([sample(args.validation_prompts, None)], run.sample_path("prompts"))
        return numbers

    def held_out_loss(held_out):
        generator = torch.Generator().manual_seed(0)
        total, size = 0.0, args.train_batch_size
        for start in range(0, len(held_out), size):
            batch = data.batch(held_out[start : start + size])
            noise = torch.randn(batch["latents"].shape, generator=generator).to(device)
            timesteps = torch.randint(num_timesteps, (len(noise),), generator=generator).to(device)
            total += losses_of(batch, noise, timesteps, False)[1].sum().item()
        return {"mse": total / len(held_out)}

    run.train(compute_loss, validate)

    if run.accelerator.is_main_process:
        with run.ema_weights():
            pipeline = build_pipeline(
                args, vae, tokenizer, text_encoder.eval(), unet.eval(), noise_scheduler, body_model
            )
            arguments = sys.argv[1:] if argv is None else argv
            base_model = args.pretrained_model_name_or_path
            card = training_facts("hand_params_to_image", arguments, args.train_data_dir, base_model)
            pipeline.save_pretrained(run.output_dir, safe_serialization=True, card=card)
        run.log({"saved": str(run.output_dir)})


if __name__ == "__main__":
    run_as_command(main)
