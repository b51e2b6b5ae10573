"""Checks of a pipeline's components before a call: present, of one device, of one dtype, made for each other.

`components` is anything with the components as attributes: a pipeline, or a modular pipeline.
"""

from typing import Any

import torch
from diffusers.utils.torch_utils import is_compiled_module

from ..utils.other_imports import refuse_other_import
from .hand_sampling import check_sample_prediction

STAGE_1_COMPONENTS = ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params", "text_to_hand_scheduler")


def check_class(name: str, value: Any, wanted: type, hint: str = "") -> None:
    """Refuses a component of another class than `wanted`; `None` and compiled models pass."""
    value = value._orig_mod if is_compiled_module(value) else value
    refuse_other_import(name, value, wanted)
    if value is not None and not isinstance(value, wanted):
        hint = f"; {hint}" if hint else ""
        raise TypeError(f"`{name}` must be a {wanted.__name__}, got {type(value).__name__}{hint}.")


def require(components: Any, purpose: str, *names: str) -> None:
    """Refuses missing components."""
    for name in names:
        if getattr(components, name, None) is None:
            raise ValueError(f"`{name}` is needed for {purpose}, but this pipeline has None in its place.")


def check_stage_1(components: Any) -> None:
    """Refuses a stage 1 that cannot sample: incomplete, on two devices, or with an unsuitable scheduler."""
    require(components, "sampling hands", *STAGE_1_COMPONENTS)
    check_one_device(components, "hand_text_encoder", "text_to_hand_params")
    check_sample_prediction(components.text_to_hand_scheduler)


def check_drawing_components(components: Any, call: dict[str, Any]) -> None:
    """Refuses a call whose models are missing, do not fit each other, or are not those that its arguments need.

    Args:
        components: a pipeline.
        call (`dict`): the arguments of its `__call__` by name.
    """
    require(components, "an image", "unet", "scheduler")
    check_ip_adapter(components, call.get("ip_adapter_image"), call.get("ip_adapter_image_embeds"))
    # An image to start from, which comes with a strength, is encoded even where none is decoded.
    uses_vae = call["output_type"] != "latent" or "strength" in call
    drawing = ("controlnet", "adapter", *(("vae", "safety_checker") if uses_vae else ()))
    encoding = () if call["prompt"] is None else ("text_encoder", "body_model")
    check_one_device(components, "unet", *drawing, *encoding)
    check_one_dtype(components, *drawing)


def check_caption_length(components: Any) -> None:
    """Refuses a tokenizer that pads captions to more tokens than the text encoder takes."""
    length = components.tokenizer.model_max_length
    most = components.text_encoder.config.max_position_embeddings
    if length > most:
        raise ValueError(
            f"`tokenizer` has `model_max_length` {length}, but `text_encoder` takes {most} tokens; say "
            f"`pipe.tokenizer.model_max_length = {most}` if that is what its captions were cut to"
        )


def check_one_device(components: Any, *names: str) -> None:
    """Refuses models of one call on several devices, unless offloading brings them together."""
    models = {name: getattr(components, name, None) for name in names}
    devices = {name: model.device for name, model in models.items() if model is not None and not _is_hooked(model)}
    first = next(iter(devices), "")
    for name, device in devices.items():
        if device != devices[first]:
            raise ValueError(
                f"`{first}` is on {devices[first]}, but `{name}` on {device}; `pipe.to(...)` moves all components."
            )


def check_one_dtype(components: Any, *names: str) -> None:
    """Refuses models whose dtype is not the U-Net's, where diffusers passes tensors on without a conversion.

    The text encoders, the denoiser of stage 1 and the body may have a dtype of their own. Autocast converts.
    """
    if torch.is_autocast_enabled(components._execution_device.type):
        return
    wanted = components.unet.dtype
    for name in names:
        model = getattr(components, name, None)
        if model is not None and model.dtype != wanted and model.dtype.is_floating_point:
            raise ValueError(f"`unet` is {wanted}, but `{name}` {model.dtype}; `pipe.to(...)` gives them one dtype.")


def check_ip_adapter(components: Any, image: Any, embeds: Any) -> None:
    """Refuses an IP-Adapter without an image, and an image without an IP-Adapter."""
    is_loaded = getattr(components.unet.config, "encoder_hid_dim_type", None) == "ip_image_proj"
    given = "ip_adapter_image" if image is not None else "ip_adapter_image_embeds" if embeds is not None else None
    if given is not None and not is_loaded:
        raise ValueError(f"`{given}` is given, but no IP-Adapter is loaded; `load_ip_adapter` loads one.")
    if given is None and is_loaded:
        raise ValueError(
            "`ip_adapter_image` or `ip_adapter_image_embeds` must be given, as an IP-Adapter is loaded; "
            "`unload_ip_adapter` of a pipeline that loaded it takes it out of the U-Net."
        )
    if image is not None:
        require(components, "`ip_adapter_image`", "image_encoder")


def _is_hooked(model: torch.nn.Module) -> bool:
    """Whether hooks of accelerate or diffusers move some of its weights when they are needed."""
    return any(
        hasattr(module, "_hf_hook") or getattr(getattr(module, "_diffusers_hook", None), "hooks", None)
        for module in model.modules()
    )
