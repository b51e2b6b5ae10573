"""Options that the trainers share, under the names they have in diffusers' `train_text_to_image.py`.

A trainer's own dataclass adds its options to `TrainingOptions`; `option_parser` makes the command line from it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .option_parser import option

LRScheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "constant_with_decay",
]
"""Those of diffusers' training scripts, and ours."""


DROPPED = {"lr_num_cycles": 1, "lr_power": 1.0}
"""Options that all trainers had, with the value that they always had."""


@dataclass
class DataOptions:
    """Which data set."""

    _argument_group_name: ClassVar[str] = "data"

    dataset_name: str | None = option(
        None,
        help="data set of the Hub, or anything `diffusers_handiffuser.data.open_dataset` takes: a folder, Parquet "
        "files, .tar shards",
    )
    dataset_config_name: str | None = option(None, help="which configuration of a data set of the Hub with several")
    dataset_revision: str | None = option(None, help="branch, tag or commit of a data set of the Hub")
    train_data_dir: str | None = option(None, help="folder with a metadata.jsonl (and its images), or with shards")
    train_split: str = option("train", help="the split of the data set that is trained on")
    max_train_samples: int | None = option(None, help="use only the first rows")
    num_validation_rows: int = option(32, help="the last rows are held out for validation")
    cache_dir: str | None = option(
        None,
        help="where images, latents and geometry are cached (default: .cache inside the data folder; for data that "
        "are no folder, inside the output folder)",
    )
    max_row_bytes: int = option(2**28, help="refuse larger rows of .tar shards, images included")
    dataloader_num_workers: int = option(0, help="threads that decode images besides the main one")

    def __post_init__(self) -> None:
        if self.train_data_dir is None and self.dataset_name is None:
            raise ValueError("one of --train_data_dir and --dataset_name is needed")
        refuse_negative(self, "dataloader_num_workers", "num_validation_rows")

    @property
    def name(self) -> str:
        """What the data set is called: `--dataset_name`, or else `--train_data_dir`."""
        return self.dataset_name or self.train_data_dir or ""


@dataclass
class StreamingDataOptions(DataOptions):
    """Which data set, and how to read one that is not to be downloaded as a whole."""

    validation_split: str | None = option(None, help="hold out the first rows of this split, not the last of the data")
    streaming: bool = option(False, help="read from front to back, with nothing downloaded or cached")
    shuffle_buffer: int = option(1000, help="streaming: rows that are shuffled together")


@dataclass
class RunOptions:
    """How long a run is, and how large its steps."""

    _argument_group_name: ClassVar[str] = "training"

    output_dir: str = option(help="checkpoints, log.jsonl, sample images and the result")
    seed: int = option(0, help="of everything that is drawn")
    train_batch_size: int = option(32, help="rows per process and forward pass")
    gradient_accumulation_steps: int = option(1, help="forward passes in an optimiser step")
    max_train_steps: int | None = option(None, help="optimiser steps in all")
    num_train_epochs: int | None = option(None, help="the length in passes over the data instead of steps")
    max_train_minutes: float | None = option(
        None, help="stop after this time (summed over resumed runs) and save; if alone, the rate decays over it"
    )
    validation_steps: int | None = option(None, help="sample images and numbers every so many steps")
    validation_epochs: int | None = option(None, help="the same in passes over the data")
    debug: bool = option(False, help="show the traceback of an error")

    def __post_init__(self) -> None:
        if self.max_train_steps is None and self.num_train_epochs is None and self.max_train_minutes is None:
            raise ValueError("one of --max_train_steps, --num_train_epochs and --max_train_minutes is needed")
        refuse_below_one(self, "train_batch_size", "gradient_accumulation_steps")
        refuse_not_positive(self, "max_train_steps", "num_train_epochs", "max_train_minutes")
        refuse_not_positive(self, "validation_steps", "validation_epochs")


@dataclass
class CheckpointOptions:
    """When checkpoints are written, and from which one a run goes on."""

    _argument_group_name: ClassVar[str] = "checkpoints"

    checkpointing_steps: int = option(500, help="steps between checkpoints")
    checkpoints_total_limit: int | None = option(None, help="keep this many, the newest (default: all)")
    resume_from_checkpoint: str | None = option(None, help='a checkpoint folder, or "latest"')

    def __post_init__(self) -> None:
        refuse_below_one(self, "checkpointing_steps")
        refuse_not_positive(self, "checkpoints_total_limit")


@dataclass
class OptimizerOptions:
    """AdamW and its learning rate."""

    _argument_group_name: ClassVar[str] = "optimiser"

    learning_rate: float = option(1e-4, help="the largest")
    scale_lr: bool = option(False, help="multiply the rate by processes, accumulation steps and batch size")
    lr_scheduler: LRScheduler = option("constant_with_warmup", help="how the rate changes during the run")
    lr_warmup_steps: int = option(500, help="steps in which the rate rises from zero")
    lr_decay_fraction: float = option(
        0.2, help="constant_with_decay: the last part of the run, in which the rate falls linearly to zero"
    )
    use_8bit_adam: bool = option(False, help="8-bit AdamW of bitsandbytes")
    adam_beta1: float = option(0.9, help="of AdamW")
    adam_beta2: float = option(0.999, help="of AdamW")
    adam_weight_decay: float = option(1e-2, help="of AdamW")
    adam_epsilon: float = option(1e-8, help="of AdamW")
    max_grad_norm: float = option(1.0, help="longer gradients are scaled down to this norm; 0: never")

    def __post_init__(self) -> None:
        refuse_negative(self, "lr_warmup_steps")


@dataclass
class EMAOptions:
    """The exponential moving average of the weights."""

    _argument_group_name: ClassVar[str] = "average of the weights"

    use_ema: bool = option(False, help="average the weights; the average is the result")
    ema_decay: float = option(0.9999, help="reached gradually: (1 + step) / (10 + step)")
    offload_ema: bool = option(False, help="keep the average in the memory of the CPU")

    def __post_init__(self) -> None:
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"--ema_decay must lie in [0, 1), but is {self.ema_decay}")
        if self.offload_ema and not self.use_ema:
            raise ValueError("--offload_ema needs --use_ema")


@dataclass
class HardwareOptions:
    """Devices, precision and memory."""

    _argument_group_name: ClassVar[str] = "hardware"

    mixed_precision: Literal["no", "fp16", "bf16"] | None = option(
        None, help="default: that of `accelerate launch`, or no"
    )
    gradient_checkpointing: bool = option(False, help="compute activations twice rather than keep them")
    enable_xformers_memory_efficient_attention: bool = option(False, help="needs xformers and a CUDA device")
    allow_tf32: bool = option(False, help="TF32 in float32 matrix products and convolutions, on CUDA")
    num_threads: int | None = option(None, help="CPU threads (default: torch's)")
    use_cpu: bool = option(False, help="stay on the CPU although there is an accelerator")

    def __post_init__(self) -> None:
        refuse_not_positive(self, "num_threads")


@dataclass
class TrackingOptions:
    """What is logged, and where."""

    _argument_group_name: ClassVar[str] = "reports"

    logging_steps: int = option(50, help="steps between lines of the log, which hold means over them")
    report_to: str | None = option(
        None, help='"tensorboard", "wandb", another tracker of accelerate, or "all" (default: log.jsonl alone)'
    )
    tracker_project_name: str = option("handiffuser", help="the name of the project in trackers")
    logging_dir: str = option("logs", help="of TensorBoard, inside the output folder")

    def __post_init__(self) -> None:
        refuse_below_one(self, "logging_steps")


@dataclass
class TrainingOptions:
    """What `run.TrainingRun` reads."""

    run: RunOptions
    optimizer: OptimizerOptions
    ema: EMAOptions
    hardware: HardwareOptions
    checkpoints: CheckpointOptions
    tracking: TrackingOptions


@dataclass
class HubOptions:
    """The upload of the result."""

    _argument_group_name: ClassVar[str] = "Hub"

    push_to_hub: bool = option(False, help="upload the result with a filled model card")
    hub_model_id: str | None = option(None, help="default: the name of the output folder, under your name")
    hub_token: str | None = option(None, help="default: that of `hf auth login` or HF_TOKEN")
    hub_private_repo: bool = option(False, help="make the repository private, if it is new")


@dataclass
class PretrainedOptions:
    """Which files of the model that `--pretrained_model_name_or_path` names."""

    revision: str | None = option(None, help="revision of the Hub model")
    variant: str | None = option(None, help='variant of the model files, e.g. "fp16"')


@dataclass
class LatentOptions:
    """Latents of a data set's images, and the hands beside them."""

    _argument_group_name: ClassVar[str] = "images"

    resolution: int = option(512, help="images are resized to this many pixels a side")
    random_flip: bool = option(False, help="also train on mirrored rows: image, hands and the words left/right")
    encode_batch_size: int = option(16, help="images per batch when latents are computed")
    cache_on_device: bool = option(False, help="keep all latents and geometry in the memory of the device")


@dataclass
class TimestepBiasOptions:
    """Which timesteps are drawn more often; the options of a trainer's loss inherit it."""

    timestep_bias_strategy: Literal["none", "later", "earlier"] = option(
        "none",
        help="draw the noisiest (later) or the cleanest (earlier) steps more often; what a caption says of the whole "
        "image, or of how a hand is turned, is learned at the noisiest",
    )
    timestep_bias_multiplier: float = option(1.0, help="how many times as often")
    timestep_bias_portion: float = option(0.25, help="the part of the steps that is drawn more often")

    def __post_init__(self) -> None:
        refuse_not_positive(self, "timestep_bias_multiplier")
        refuse_outside_unit_interval(self, "timestep_bias_portion")


def refuse_epochs_of_stream(data: StreamingDataOptions, run: RunOptions) -> None:
    """Refuses what only the number of rows could give a meaning to."""
    for name in ("num_train_epochs", "validation_epochs"):
        if data.streaming and getattr(run, name) is not None:
            raise ValueError(f"--streaming does not know the number of rows: --{name} means nothing to it")
    if data.streaming and data.max_train_samples is not None:
        raise ValueError("--streaming does not know the number of rows: --max_train_samples means nothing to it")


def refuse_negative(options: Any, *names: str) -> None:
    for name in names:
        if getattr(options, name) < 0:
            raise ValueError(f"--{name} must not be negative, but is {getattr(options, name)}")


def refuse_below_one(options: Any, *names: str) -> None:
    for name in names:
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1, but is {getattr(options, name)}")


def refuse_not_positive(options: Any, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} must be positive, but is {value}")


def refuse_outside_unit_interval(options: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise ValueError(f"--{name} must lie in [0, 1], but is {getattr(options, name)}")
