"""Options of stage 2's trainer."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import diffusers

from ..engine.option_parser import JsonObject, OptionParser, option
from ..engine.options import (
    DROPPED,
    HubOptions,
    LatentOptions,
    PretrainedOptions,
    StreamingDataOptions,
    TimestepBiasOptions,
    TrainingOptions,
    refuse_epochs_of_stream,
    refuse_negative,
    refuse_outside_unit_interval,
)


@dataclass
class ModelOptions(PretrainedOptions):
    """The models that a training starts from."""

    _argument_group_name: ClassVar[str] = "models to start from"

    pretrained_model_name_or_path: str | None = option(
        None,
        help="Stable Diffusion 1.x or HanDiffuser pipeline: a folder, a Hub id, or a single .safetensors or .ckpt "
        "file; without it, models start from nothing",
    )
    single_file_config: str | None = option(
        None,
        help="for a single file: folder or Hub id with the configs of such a pipeline (default: as diffusers finds "
        "them on the Hub)",
    )
    pretrained_vae_model_name_or_path: str | None = option(
        None, help="another VAE: its folder, or one with vae/ inside"
    )
    tokenizer_name: str | None = option(None, help="another tokenizer: its folder")
    unet_config: JsonObject = option({}, help="JSON (or file): changes to the small U-Net's configuration")
    text_encoder_config: JsonObject = option({}, help="the same for the Text+Hand encoder")
    init_from: str | None = option(
        None,
        help="take the weights (only) of unet/ and text_encoder/, or of the one that this folder holds; of a "
        "checkpoint, the averaged ones; a U-Net for smaller latents becomes the inside of a larger one",
    )
    body_model: str | None = option(None, help="SMPL-H file (default: the body that ships with the package)")
    text_to_hand_params_dir: str | None = option(
        None, help="output of stage 1 (folder or Hub id), to make a whole pipeline"
    )

    def __post_init__(self) -> None:
        if self.pretrained_model_name_or_path is None:
            for name in ("pretrained_vae_model_name_or_path", "tokenizer_name"):
                if getattr(self, name) is None:
                    raise ValueError(f"without --pretrained_model_name_or_path, --{name} is needed")


@dataclass
class LoraOptions:
    """Which parameters are trained."""

    _argument_group_name: ClassVar[str] = "training method"

    train_method: Literal["full", "lora"] = option(
        "full",
        help="full: all of U-Net and encoder, as in the paper; lora: low-rank updates, and the hand modules fully",
    )
    rank: int = option(4, help="lora: rank of the updates")
    merge_lora: bool = option(
        False,
        help="lora: also write a whole pipeline with the updates merged into its weights; the LoRA goes to lora/",
    )

    def __post_init__(self) -> None:
        if self.merge_lora and self.train_method != "lora":
            raise ValueError("--merge_lora needs --train_method lora")
        if self.rank < 1:
            raise ValueError(f"--rank must be at least 1, but is {self.rank}")


@dataclass
class ImageDataOptions(LatentOptions):
    """Latents and hand geometry: cached on disk, or computed in the loop."""

    no_cache: bool = option(False, help="compute latents and geometry in the loop")
    cache_only: bool = option(False, help="make the caches and stop")


@dataclass
class ConditionOptions:
    """Dropout of caption and hands in training."""

    _argument_group_name: ClassVar[str] = "conditioning dropout"

    condition_dropout: float = option(0.1, help='part of the rows that get "" and no hands, for guidance')
    hand_dropout: float = option(0.05, help="part of the rows that keep their caption but get no hands")
    text_only_steps: float = option(
        0.0,
        help="part of the steps that use the caption's 77 states alone, what hand_conditioning_scale=0 samples with",
    )
    joint_jitter: float = option(
        0.0,
        help="standard deviation of noise on the 2D joints, in units of half an image; each row gets 0 to 1 times it",
    )

    def __post_init__(self) -> None:
        refuse_outside_unit_interval(self, "condition_dropout", "hand_dropout", "text_only_steps")


@dataclass
class NoiseScheduleOptions:
    """Changes to the noise schedule."""

    _argument_group_name: ClassVar[str] = "noise schedule"

    prediction_type: Literal["epsilon", "v_prediction"] | None = option(
        None, help="default: the pretrained scheduler's, or epsilon"
    )
    beta_schedule: str | None = option(None, help="default: the pretrained scheduler's, or scaled_linear")
    beta_start: float | None = option(None, help="default: the pretrained scheduler's, or 0.00085")
    beta_end: float | None = option(None, help="default: the pretrained scheduler's, or 0.012")
    rescale_betas_zero_snr: bool = option(False, help="zero terminal SNR (Lin et al. 2023); needs v_prediction")


@dataclass
class LossOptions(TimestepBiasOptions):
    """How noise and timesteps are drawn, and how errors are weighted; see `loss.ImageLoss`."""

    _argument_group_name: ClassVar[str] = "loss"

    snr_gamma: float | None = option(None, help="min-SNR loss weights (Hang et al. 2023); 5.0 is recommended")
    balance_timesteps: bool = option(
        False,
        help="weight every range of timesteps about equally in the loss, by running means of it; otherwise the "
        "noisiest ones, whose errors are mostly chance, drown those where details are drawn, most so in a small model",
    )
    hand_loss_weight: float = option(
        0.0,
        help="the loss counts 1 + this times as much on the joints of visible hands (fading out within two latent "
        "positions), since fingers cover few pixels of an image. 0: the same everywhere, as in the paper",
    )
    joint_loss_weight: float = option(
        0.0,
        help="also learn where every joint of a visible hand is, from the U-Net's features and the joints' states: "
        "weight of the cross-entropies over latent positions and along x and y (linear layers that are dropped at the "
        "end read them); a U-Net trained from scratch otherwise takes long to bind joints to positions. 0: not at "
        "all, as in the paper; 0.1",
    )
    palm_loss_weight: float = option(
        0.0,
        help="with --joint_loss_weight: also learn at those joints whether the palm or the back of the hand is seen: "
        "weight of the cross-entropy; the two differ by few pixels, and are learned late. 0: not at all, as in the "
        "paper",
    )
    noise_offset: float = option(0.0, help="more noise that is the same at all positions of a channel; 0.1")
    input_perturbation: float = option(0.0, help="more noise in the latents than in the target; 0.1")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_negative(self, "hand_loss_weight", "joint_loss_weight", "palm_loss_weight")
        if self.palm_loss_weight > 0 and self.joint_loss_weight == 0:
            raise ValueError("--palm_loss_weight needs --joint_loss_weight: it is read at the joints of that loss")
        if self.balance_timesteps and self.snr_gamma is not None:
            raise ValueError("--balance_timesteps and --snr_gamma both weigh the timesteps: choose one")


@dataclass
class ValidationOptions:
    """Validation, and what is saved with the pipeline."""

    _argument_group_name: ClassVar[str] = "validation and result"

    validation_prompts: list[str] | None = option(None, help="sampled through both stages; needs the stage-1 folder")
    num_validation_images: int = option(8, help="images of held-out rows, with their hands")
    inference_scheduler: str = option("DPMSolverMultistepScheduler", help="diffusers class to save")
    default_num_inference_steps: int | None = option(None, help="saved with the pipeline, used in validation")
    default_guidance_scale: float | None = option(None, help="saved with the pipeline, used in validation")
    default_num_hand_inference_steps: int | None = option(None, help="saved with the pipeline")
    default_hand_guidance_scale: float | None = option(None, help="saved with the pipeline")

    def __post_init__(self) -> None:
        if not hasattr(diffusers, self.inference_scheduler):
            raise ValueError(f"--inference_scheduler: diffusers has no {self.inference_scheduler}")


@dataclass
class ImageTrainingOptions(TrainingOptions):
    """Train stage 2: text and hands to an image (U-Net and Text+Hand encoder)."""

    data: StreamingDataOptions
    hub: HubOptions
    models: ModelOptions
    lora: LoraOptions
    images: ImageDataOptions
    conditions: ConditionOptions
    schedule: NoiseScheduleOptions
    loss: LossOptions
    validation: ValidationOptions

    def __post_init__(self) -> None:
        refuse_epochs_of_stream(self.data, self.run)
        if self.lora.train_method == "lora" and self.models.pretrained_model_name_or_path is None:
            raise ValueError("--train_method lora needs --pretrained_model_name_or_path: it updates trained weights")
        if self.images.cache_only and (self.images.no_cache or self.data.streaming):
            raise ValueError("--cache_only makes caches, which --no_cache and --streaming do without")
        if self.validation.validation_prompts and self.models.text_to_hand_params_dir is None:
            raise ValueError("--validation_prompts needs --text_to_hand_params_dir")


def make_parser() -> OptionParser:
    """The parser of the program's command line."""
    return OptionParser(
        ImageTrainingOptions,
        defaults={"checkpointing_steps": 1000},
        dropped=DROPPED,
        prog="python -m diffusers_handiffuser.training.hand_params_to_image",
    )
