"""From any Stable Diffusion 1.x or 2.x pipeline to one of ours: `from_stable_diffusion`."""

import os
from typing import Any, Self

from diffusers import DiffusionPipeline, StableDiffusionPipeline
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError

from ..hands import HandBodyModel
from ..hub.loading import rename_dtype_kwarg
from ..hub.loading_lock import one_at_a_time
from ..hub.places import refuse_absent
from ..hub.stored_dtype import load_in_stored_dtype
from ..models import TextHandEncoder, TextToHandParamsModel
from ..utils.messages import one_line_of
from ..utils.other_imports import refuse_other_import
from ..utils.typing import MixinBase

SHARED_COMPONENTS = ("vae", "tokenizer", "unet", "scheduler", "safety_checker", "feature_extractor", "image_encoder")
STAGE_1_COMPONENTS = ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params", "text_to_hand_scheduler")
STAGE_1_DEFAULTS = ("default_num_hand_inference_steps", "default_hand_guidance_scale", "body_sha256")
_SINGLE_FILES = (".safetensors", ".ckpt")
_ACCESS = ("cache_dir", "force_download", "proxies", "local_files_only", "token", "dtype", "torch_dtype")


class FromStableDiffusionMixin(MixinBase):
    """Gives `from_stable_diffusion` to a pipeline that has Stable Diffusion's components and ours."""

    @classmethod
    @one_at_a_time
    def from_stable_diffusion(
        cls,
        stable_diffusion: DiffusionPipeline | str | os.PathLike,
        text_to_hand_params: TextToHandParamsModel | DiffusionPipeline | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> Self:
        """This pipeline with the weights of a Stable Diffusion 1.x or 2.x pipeline, which stays as it is.

        All parts are shared but the text encoder, of which `TextHandEncoder.from_clip` makes a joint encoder. Until
        that is trained the hands say nothing to the U-Net; without hands the images are those of the source bit for
        bit.

        Args:
            stable_diffusion (`DiffusionPipeline`, `str` or `os.PathLike`): a loaded pipeline, a folder, a Hub id, or a
                single file (`.safetensors` or `.ckpt`; path or URL). Of a `.ckpt` file no code is executed. For a
                single file without network give `config=`, a folder with the configs of such a pipeline.
            text_to_hand_params ([`TextToHandParamsModel`], `DiffusionPipeline`, `str` or `os.PathLike`, *optional*):
                stage 1: one of our pipelines, as an object, a folder or a Hub id, of which stage 1, its defaults and
                its body are taken; or the model alone, beside `hand_tokenizer`, `hand_text_encoder` and
                `text_to_hand_scheduler`. Without it hands have to be given to the pipeline.
            kwargs: components and defaults of the constructor, which come before those of the two sources
                (`body_model` is the procedural body otherwise); all others are options of loading `stable_diffusion`,
                such as `dtype`, `variant`, `revision`, `config`.

        Raises:
            OSError: something cannot be loaded.
            TypeError, ValueError: a source is not what is wanted here, or stage 1 lacks a part.
        """
        components, defaults = cls._get_signature_keys(cls)
        given = {name: kwargs.pop(name) for name in (*components, *defaults) if name in kwargs}
        access = {name: kwargs[name] for name in _ACCESS if name in kwargs}
        if isinstance(stable_diffusion, (str, os.PathLike)):
            instead = {name: given[name] for name in SHARED_COMPONENTS if name in given}
            stable_diffusion = load_stable_diffusion(os.fspath(stable_diffusion), {**kwargs, **instead})
        elif unused := kwargs.keys() - (access if isinstance(text_to_hand_params, (str, os.PathLike)) else ()):
            raise TypeError(f"`{min(unused)}` is an option of loading, but `stable_diffusion` is loaded already.")
        _check_stable_diffusion("stable_diffusion", stable_diffusion)

        parts = {name: getattr(stable_diffusion, name, None) for name in SHARED_COMPONENTS}
        parts["requires_safety_checker"] = stable_diffusion.config.get("requires_safety_checker", True)
        if "text_encoder" not in given:
            parts["text_encoder"] = TextHandEncoder.from_clip(stable_diffusion.text_encoder)
        parts |= {**_stage_1(cls, text_to_hand_params, given, access), **given}
        if parts.get("body_model") is None and "body_model" not in given:
            parts["body_model"] = HandBodyModel.procedural()
        return cls(**parts)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> Self:
        """As in diffusers, from one of our pipelines or from one of Stable Diffusion 1.x or 2.x.

        What `pipeline` lacks for hands is `None` unless given. The text encoder of Stable Diffusion becomes a joint
        encoder, as in `from_stable_diffusion`, which also takes a stage 1 and a body. The way back is
        `StableDiffusionPipeline.from_pipe(pipe, text_encoder=pipe.text_encoder)`.
        """
        encoder = getattr(pipeline, "text_encoder", None)
        refuse_other_import("text_encoder", encoder, TextHandEncoder)
        if "text_encoder" not in kwargs and encoder is not None and not isinstance(encoder, TextHandEncoder):
            _check_stable_diffusion("pipeline", pipeline)
            kwargs["text_encoder"] = TextHandEncoder.from_clip(encoder)
        lacking = {name: None for name in cls._optional_components if name not in pipeline.components}
        return super().from_pipe(pipeline, **{**lacking, **kwargs})

    @classmethod
    def from_single_file(cls, pretrained_model_link_or_path: str | os.PathLike, **kwargs: Any) -> Self:
        """A Stable Diffusion checkpoint in one file, by way of `from_stable_diffusion`; takes its arguments."""
        name = os.fspath(pretrained_model_link_or_path)
        if not is_single_file(name):
            raise ValueError(
                f"`pretrained_model_link_or_path` must end in {' or '.join(_SINGLE_FILES)}, got {name!r}."
            )
        return cls.from_stable_diffusion(name, **kwargs)


def is_single_file(name: str) -> bool:
    """Whether a name is that of a checkpoint in one file."""
    return name.endswith(_SINGLE_FILES)


def load_stable_diffusion(name: str, options: dict[str, Any]) -> DiffusionPipeline:
    """The pipeline in a folder, under a Hub id or in a single file; the options are those of loading it."""
    is_file = is_single_file(name)
    only_for_files = [option for option in ("config", "original_config") if option in options]
    if only_for_files and not is_file:
        raise ValueError(f"`{only_for_files[0]}` is for single files (.safetensors, .ckpt), got {name!r}.")
    if not is_file:
        refuse_absent(name, "Cannot load `stable_diffusion`", **options)
    elif "://" not in name and not os.path.exists(name):
        raise OSError(f"Cannot load `stable_diffusion`: there is no file {name!r} here.")
    options = rename_dtype_kwarg(options)
    try:
        if is_file:
            return StableDiffusionPipeline.from_single_file(name, **options)
        return load_in_stored_dtype(DiffusionPipeline.from_pretrained, name, options)
    except (OSError, HTTPError, SafetensorError) as error:
        reason = one_line_of(error)
        raise OSError(f"Cannot load `stable_diffusion` from {name!r}: {reason}") from error


def _check_stable_diffusion(argument: str, pipeline: Any) -> None:
    name = type(pipeline).__name__
    wanted = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    if not isinstance(pipeline, DiffusionPipeline):
        raise TypeError(f"`{argument}` must be a pipeline, a path or a Hub id, got {name}.")
    refuse_other_import("text_encoder", getattr(pipeline, "text_encoder", None), TextHandEncoder)
    if isinstance(getattr(pipeline, "text_encoder", None), TextHandEncoder):
        raise ValueError(f"`{argument}` is a {name} with a TextHandEncoder already; `from_pipe` passes it on.")
    missing = [part for part in wanted if getattr(pipeline, part, None) is None]
    if missing or hasattr(pipeline, "text_encoder_2"):
        detail = f"without {missing[0]}" if missing else "with a second text encoder"
        raise ValueError(f"`{argument}` must be of Stable Diffusion 1.x or 2.x, got a {name} {detail}.")


def _stage_1(pipeline_class: Any, source: Any, given: dict[str, Any], access: dict[str, Any]) -> dict[str, Any]:
    """Components and defaults of stage 1 from one of our pipelines, or a model beside its given companions."""
    if source is None:
        return {}
    refuse_other_import("text_to_hand_params", source, TextToHandParamsModel)
    if isinstance(source, TextToHandParamsModel):
        missing = [name for name in STAGE_1_COMPONENTS if name != "text_to_hand_params" and given.get(name) is None]
        if missing:
            raise ValueError(f"`{missing[0]}` is needed beside `text_to_hand_params`, which is a bare model.")
        return {"text_to_hand_params": source}
    if isinstance(source, (str, os.PathLike)):
        source = _load_stage_1(pipeline_class, source, given, access)
    if getattr(source, "text_to_hand_params", None) is None:
        raise ValueError(f"`text_to_hand_params` must have a stage 1, got a {type(source).__name__} without.")
    parts = {name: getattr(source, name) for name in (*STAGE_1_COMPONENTS, "body_model")}
    return {**parts, **{name: source.config[name] for name in STAGE_1_DEFAULTS}}


def _load_stage_1(
    pipeline_class: Any, source: str | os.PathLike, given: dict[str, Any], access: dict[str, Any]
) -> DiffusionPipeline:
    """One of our pipelines without the components of stage 2."""
    wanted = (*STAGE_1_COMPONENTS, "body_model")
    components, _ = pipeline_class._get_signature_keys(pipeline_class)
    not_needed = dict.fromkeys(name for name in components if name not in wanted)
    instead = {name: given[name] for name in (*wanted, "body_sha256") if name in given}
    return pipeline_class.from_pretrained(source, **{**access, **not_needed, **instead})
