"""Painters that call inpainting pipelines, of diffusers or of this package.

Inpainting pipelines name the arguments of their calls alike. So one painter serves them all: it has a value for every
argument that depends on the crop, and passes those that the pipeline takes.
"""

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForInpainting, DiffusionPipeline
from PIL import Image

from ..hands import HandBodyModel, HandParams
from ..pipelines import HandConditioningMixin
from ..pipelines.inputs import check_count
from ..rendering.conditions import check_condition
from ..utils.suggestions import did_you_mean
from .painting import HandCrop, HandPainter, PaintingError

_NEEDED = ("prompt", "image", "mask_image")
"""Arguments that a pipeline has to take."""
_CROP_ARGUMENTS = (
    *_NEEDED,
    "negative_prompt",
    "control_image",
    "hand_params",
    "strength",
    "height",
    "width",
    "generator",
)
"""Those that each crop determines; all others are options."""
_HANDS = ("hands",)
"""Parts that a condition shows: the rest of the body is assumed."""
_TRANSFORMER_SIZE = 1024
"""Pixels: what FLUX, Qwen-Image and Z-Image draw by default, whose transformers name no size."""


def painter_for(
    pipe: DiffusionPipeline | HandPainter,
    *,
    condition: str | Sequence[str] = "depth_hand",
    condition_scale: float | Sequence[float] | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    size: int | None = None,
    body_model: HandBodyModel | None = None,
    **options: Any,
) -> HandPainter:
    """A painter that calls an inpainting pipeline.

    The pipeline is given the image, mask, prompt and strength of the crop; one with a ControlNet also an image of the
    hand, and one of HanDiffuser the hand itself. Noise is drawn on the CPU: a seed means the same on every device.

    Some pipelines take less: `ZImageControlNetInpaintPipeline` no strength, so it always ignores what the mask covers;
    `FluxControlNetInpaintPipeline` no negative prompt, and then one is an error. Others of FLUX and Qwen-Image heed a
    negative prompt only with a `true_cfg_scale` above 1.

    Args:
        pipe (`DiffusionPipeline` or [`HandPainter`]): an inpainting pipeline. One of HanDiffuser for another task is
            replaced by its counterpart for inpainting, which shares its components. A painter is returned as it is.
        condition (`str` or sequence of `str`): what the ControlNet is shown of the hand: `"depth_hand"`, as
            HandRefiner's expects it, or another kind of [`HandParams.to_condition`]; a sequence for several
            ControlNets. Without a ControlNet it is not used.
        condition_scale (`float` or sequence of `float`, *optional*): the `controlnet_conditioning_scale` of the call;
            by default the pipeline's.
        num_inference_steps (`int`, *optional*): before `strength` shortens the schedule; by default the pipeline's.
        guidance_scale (`float`, *optional*): by default the pipeline's.
        size (`int`, *optional*): side of the crops, pixels; by default that of the images that the model was made for.
        body_model ([`HandBodyModel`], *optional*): whose hand the condition shows; by default that of the pipeline, or
            the procedural one.
        options: further arguments of the call, such as `control_guidance_end` or `control_mode`.

    Returns:
        [`HandPainter`]. Its call raises [`PaintingError`] where the safety checker blackens the image.

    Raises:
        TypeError: if `pipe` is neither a pipeline nor a painter, or its call takes no such option.
        ValueError: if `pipe` cannot inpaint, or not at this size.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline
        >>> from diffusers_handiffuser.repair import painter_for

        >>> painter = painter_for(HanDiffuserPipeline.from_pretrained(MINI), num_inference_steps=20)
        >>> painter.size
        128
        ```
    """
    if isinstance(condition_scale, Sequence):
        condition_scale = list(condition_scale)  # diffusers takes no other
    named = {
        "controlnet_conditioning_scale": condition_scale,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
    }
    options |= {name: value for name, value in named.items() if value is not None}
    if isinstance(pipe, DiffusionPipeline):
        return _PipelinePainter(_inpainting_pipeline(pipe), condition, size, body_model, options)
    if isinstance(pipe, type) or not callable(pipe) or not isinstance(getattr(pipe, "size", None), int):
        kind = f"the class {pipe.__name__}" if isinstance(pipe, type) else type(pipe).__name__
        raise TypeError(f"`pipe` must be an inpainting pipeline or a painter, got {kind}.")
    if options or size is not None or body_model is not None:
        raise TypeError(f"`pipe` is a painter, {type(pipe).__name__}, which takes no options.")
    return pipe


class _PipelinePainter:
    """See [`painter_for`]."""

    def __init__(
        self,
        pipe: DiffusionPipeline,
        condition: str | Sequence[str],
        size: int | None,
        body_model: HandBodyModel | None,
        options: dict[str, Any],
    ) -> None:
        for kind in [condition] if isinstance(condition, str) else condition:
            check_condition(kind, "dwpose", _HANDS, False)
        _check_options(pipe, options)
        self.pipe, self.condition, self.options = pipe, condition, options
        self.size = _checked_size(pipe, _native_size(pipe) if size is None else size)
        self.body_model = getattr(pipe, "body_model", None) if body_model is None else body_model
        self._parameters = _call_parameters(pipe)
        if "keep_unmasked" in self._parameters:
            # What the VAE does to colours shows outside the mask, and pasting undoes it.
            self.options = {"keep_unmasked": False, **options}

    def __repr__(self) -> str:
        return f"painter_for({type(self.pipe).__name__}, condition={self.condition!r}, size={self.size})"

    def __call__(self, crop: HandCrop, /) -> Image.Image:
        name = type(self.pipe).__name__
        if not crop.image.size == crop.mask.size == (self.size, self.size):
            raise ValueError(
                f"The image and the mask of a crop must have {self.size} x {self.size} pixels, got "
                f"{crop.image.width} x {crop.image.height} and {crop.mask.width} x {crop.mask.height}."
            )
        if crop.negative_prompt is not None and "negative_prompt" not in self._parameters:
            raise ValueError(f"{name} takes no negative prompt.")
        output = self.pipe(**self._crop_arguments(crop), **self.options)
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise PaintingError(f"the safety checker of {name} blackened the image")
        image = output.images[0]
        if image.size != crop.image.size:
            raise ValueError(
                f"{name} drew {image.width} x {image.height} pixels instead of {self.size} x {self.size}; "
                "`painter_for` takes the `size` that it draws."
            )
        return image.convert("RGB")

    def _crop_arguments(self, crop: HandCrop) -> dict[str, Any]:
        """What the crop gives of the arguments that the pipeline takes."""
        values: dict[str, Any] = {
            "prompt": crop.prompt,
            "negative_prompt": crop.negative_prompt,
            "image": crop.image,
            "mask_image": crop.mask,
            "hand_params": crop.hand_params,
            "strength": crop.strength,
            "height": self.size,
            "width": self.size,
            "generator": torch.Generator().manual_seed(crop.seed),
        }
        if "control_image" in self._parameters:
            values["control_image"] = self._condition_image(crop.hand_params)
        return {name: value for name, value in values.items() if name in self._parameters}

    def _condition_image(self, hand_params: HandParams) -> Image.Image | list[Image.Image]:
        if isinstance(self.condition, str):
            return self._draw(self.condition, hand_params)
        return [self._draw(kind, hand_params) for kind in self.condition]

    def _draw(self, kind: str, hand_params: HandParams) -> Image.Image:
        image = hand_params[0].to_condition(kind, self.size, self.body_model, parts=_HANDS)
        assert not isinstance(image, list)
        return image.convert("RGB")


def _call_parameters(pipe: DiffusionPipeline) -> list[str]:
    """The names of what a pipeline's call takes; not those that it collects in `**kwargs` and may ignore."""
    parameters = inspect.signature(type(pipe).__call__).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][1:]


def _inpainting_pipeline(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """The pipeline, or its counterpart for inpainting; refuses one that has none."""
    lacking = [name for name in _NEEDED if name not in _call_parameters(pipe)]
    if not lacking:
        return pipe
    if isinstance(pipe, HandConditioningMixin):
        with contextlib.suppress(ValueError):  # there is no counterpart
            return AutoPipelineForInpainting.from_pipe(pipe)
    raise ValueError(
        f"{type(pipe).__name__} cannot repair hands: its call takes no `{lacking[0]}`. Pass an inpainting pipeline, "
        "such as `AutoPipelineForInpainting.from_pipe(pipe)` or, for a ControlNet, "
        "`StableDiffusionControlNetInpaintPipeline`."
    )


def _native_size(pipe: DiffusionPipeline) -> int:
    """Side of the images that the model was made for, pixels."""
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    factor = getattr(pipe, "vae_scale_factor", None)
    sample_size = getattr(getattr(network, "config", None), "sample_size", None)
    if sample_size is not None and factor is not None:
        return factor * (sample_size if isinstance(sample_size, int) else max(sample_size))
    if getattr(pipe, "transformer", None) is not None:
        return _TRANSFORMER_SIZE
    raise ValueError(f"{type(pipe).__name__} does not say how large its images are: pass a `size`.")


def _checked_size(pipe: DiffusionPipeline, size: int) -> int:
    """A size that the pipeline's VAE, and the patches of its transformer, divide."""
    check_count("size", size)
    factor = pipe.image_processor.config.vae_scale_factor if hasattr(pipe, "image_processor") else 1
    if size % factor:
        raise ValueError(f"`size` must be a multiple of {factor} for {type(pipe).__name__}, got {size}.")
    return size


def _check_options(pipe: DiffusionPipeline, options: dict[str, Any]) -> None:
    """Refuses arguments that the pipeline does not take, which diffusers may ignore, or that the crop gives."""
    known = [name for name in _call_parameters(pipe) if name not in _CROP_ARGUMENTS]
    for name in options:
        if name in _CROP_ARGUMENTS:
            raise TypeError(f"`{name}` is not an option of a painter: each crop gives it.")
        if name not in known:
            raise TypeError(f"{type(pipe).__name__} takes no `{name}`{did_you_mean(name, known)}")
