"""Options of stage 1's trainer."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..engine.option_parser import JsonObject, option
from ..engine.options import (
    HubOptions,
    PretrainedOptions,
    StreamingDataOptions,
    TimestepBiasOptions,
    TrainingOptions,
    refuse_below_one,
    refuse_epochs_of_stream,
    refuse_negative,
    refuse_outside_unit_interval,
)


@dataclass
class ExampleOptions:
    """What is made of the data set's rows."""

    _argument_group_name: ClassVar[str] = "examples"

    random_flip: bool = option(False, help="also train on mirrored rows, left and right swapped")
    live_captions: Literal["studio", "natural", "both"] | None = option(
        None,
        help="of rows from `handiffuser data make`: write a new caption whenever a row is trained on, as the studio "
        "describes its scenes, in natural sentences, or both; default: the rows' own",
    )
    handless_text: list[str] | None = option(
        None,
        help="with --live_captions: text files, a sentence a line, that ask for no hand: captions of some of the rows "
        "without hands",
    )
    statistics_rows: int = option(10_000, help="streaming: mean and deviation are those of the first rows")

    def __post_init__(self) -> None:
        if self.handless_text and self.live_captions in (None, "studio"):
            raise ValueError("--handless_text needs --live_captions natural or both")
        if self.statistics_rows < 2:
            raise ValueError(f"--statistics_rows must be at least 2, but is {self.statistics_rows}")


@dataclass
class ModelOptions(PretrainedOptions):
    """What the models start from."""

    _argument_group_name: ClassVar[str] = "models"

    pretrained_model_name_or_path: str | None = option(
        None,
        help="folder or Hub id with tokenizer/ and text_encoder/ (any text model of transformers), or a pipeline with "
        "a stage 1, whose text model is taken; else the text encoder starts from nothing",
    )
    tokenizer_name: str | None = option(None, help="another tokenizer: its folder")
    train_text_encoder: bool = option(False, help="train the text encoder along (else frozen)")
    text_encoder_config: JsonObject = option(
        {}, help="JSON (or file): changes to the small text encoder's configuration (a transformers CLIPTextConfig)"
    )
    model_config: JsonObject = option({}, help="JSON (or file): TextToHandParamsModel's configuration")
    init_from: str | None = option(
        None, help="take the weights (only) from this output or checkpoint folder; of a checkpoint, the averaged"
    )
    ignore_mismatched_sizes: bool = option(
        False, help="of --init_from, take only the weights that have the same name and shape here"
    )
    body_model: str | None = option(None, help="SMPL-H file for the joint loss (default: the body of the package)")

    def __post_init__(self) -> None:
        if self.pretrained_model_name_or_path is None:
            if self.tokenizer_name is None:
                raise ValueError("without --pretrained_model_name_or_path, --tokenizer_name is needed")
            if not self.train_text_encoder and self.init_from is None:
                raise ValueError("a text encoder that starts from nothing has to be trained: add --train_text_encoder")
        if self.ignore_mismatched_sizes and self.init_from is None:
            raise ValueError("--ignore_mismatched_sizes is about the weights of --init_from, which is not given")


@dataclass
class DiffusionOptions(TimestepBiasOptions):
    """Noise schedule and loss."""

    _argument_group_name: ClassVar[str] = "diffusion and losses"

    condition_dropout: float = option(0.1, help='part of the rows whose caption becomes ""')
    num_train_timesteps: int = option(1000, help="length of the noise schedule")
    beta_schedule: str = option("squaredcos_cap_v2", help="name of the noise schedule in diffusers")
    snr_gamma: float | None = option(None, help="min-SNR loss weights (Hang et al. 2023); default: weight 1")
    invisible_hand_weight: float = option(0.1, help="weight of finger rotations of a hand that is not visible")
    arm_loss_weight: float = option(
        1.0,
        help="weight of the rotations of a visible hand's arm, which turn the hand: four joints beside fifteen of its "
        "fingers; 6",
    )
    visibility_loss_weight: float = option(
        1.0, help="weight of the two values that say which hands are visible, beside 325 others; 10"
    )
    joint_loss_weight: float = option(
        1.0, help="weight of the loss on the visible hands' joints, in the image and around the wrist"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_negative(
            self, "arm_loss_weight", "invisible_hand_weight", "joint_loss_weight", "visibility_loss_weight"
        )
        refuse_outside_unit_interval(self, "condition_dropout")


@dataclass
class SamplingOptions:
    """How hands are sampled."""

    _argument_group_name: ClassVar[str] = "validation"

    validation_prompts: list[str] | None = option(None, help="drawn besides the first held-out captions")
    num_hand_inference_steps: int = option(20, help="in validation; saved as the default")
    hand_guidance_scale: float = option(2.5, help="in validation; saved as the default")

    def __post_init__(self) -> None:
        refuse_below_one(self, "num_hand_inference_steps")


@dataclass
class HandParamsTrainingOptions(TrainingOptions):
    """Train stage 1: text to the SMPL-H parameters of one person."""

    data: StreamingDataOptions
    examples: ExampleOptions
    models: ModelOptions
    diffusion: DiffusionOptions
    sampling: SamplingOptions
    hub: HubOptions

    def __post_init__(self) -> None:
        refuse_epochs_of_stream(self.data, self.run)
        if self.data.streaming and self.examples.live_captions is not None:
            raise ValueError("--live_captions needs the rows in memory, which --streaming does not keep")
