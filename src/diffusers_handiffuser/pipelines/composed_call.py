"""One `__call__` for every pipeline: diffusers' arguments for the task, and then those of [`HandInputs`].

Nothing is listed a second time: signature, annotations and docstring are composed from the inherited `__call__`, the
fields of the class's `HandInputs`, and what the class says in `call_doc` of arguments that mean something else here.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from ..utils.suggestions import did_you_mean
from .hand_inputs import HandInputs
from .inputs import LEGACY_CALLBACKS
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

COMMON_DOC = """
    Args:
        prompt (`str` or `list[str]`, *optional*): what to draw; either this or `prompt_embeds`.
        height, width (`int`, *optional*): in pixels; both or neither.
        num_inference_steps (`int`, *optional*): else the checkpoint's default, else 50.
        guidance_scale (`float`, *optional*): else the checkpoint's default, else 7.5.
        num_images_per_prompt (`int`): n; every image has hands of its own.
        generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one, or one per image. Stage 1 draws from
            a copy of it, so the same generator and the same hands give the same image again.
        prompt_embeds, negative_prompt_embeds (`torch.Tensor`, *optional*): used as they are; no hands are sampled
            then. `encode_prompt(..., hand_params=)` makes them from text and hands.
        return_dict (`bool`): whether to return an output object instead of a tuple.
"""
RETURNS_DOC = """
Returns:
    [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
    hand_params)`.
"""
_ANNOTATIONS = {
    "num_images_per_prompt": int,
    "callback_on_step_end": Callable | PipelineCallback | MultiPipelineCallbacks | None,
    "callback_on_step_end_tensor_inputs": list[str] | tuple[str, ...],
}
"""Where diffusers' own contradict what it takes."""
_DEFAULT_OF_CHECKPOINT = ("num_inference_steps", "guidance_scale")


def composed_call(cls: type, mixin: type) -> Callable[..., Any] | None:
    """The `__call__` of a pipeline class: binds the arguments, makes its `HandInputs`, and leaves the rest to `draw`.

    Args:
        cls (`type`): a class with `mixin` before a pipeline of diffusers.
        mixin (`type`): `HandConditioningMixin`.

    Returns:
        `Callable`, or `None` for a class without a pipeline behind `mixin`.
    """
    inherited = inherited_call(cls, mixin)
    if inherited is None:
        return None
    inputs_class: type[HandInputs] = cls.hand_inputs_class  # type: ignore[attr-defined]
    signature = call_signature(inherited, inputs_class, cls.call_annotations)  # type: ignore[attr-defined]

    @one_thread_at_a_time
    @torch.no_grad()
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # becomes the method
        call = _bind(signature, self, args, kwargs)
        return_dict = call.pop("return_dict")
        hands = inputs_class(**{field.name: call.pop(field.name) for field in fields(inputs_class)})
        output = HanDiffuserPipelineOutput(*self.draw(call, hands))
        return output if return_dict else output.to_tuple()

    __call__.__signature__ = signature  # type: ignore[attr-defined]
    __call__.__annotations__ = {p.name: p.annotation for p in signature.parameters.values() if p.name != "self"}
    __call__.__annotations__["return"] = signature.return_annotation
    __call__.__doc__ = call_docstring(signature, cls.call_doc, inputs_class, inherited)  # type: ignore[attr-defined]
    __call__.__module__ = cls.__module__
    return __call__


def inherited_call(cls: type, mixin: type) -> Callable[..., Any] | None:
    """The `__call__` of the first class behind `mixin` that has one."""
    behind = cls.__mro__[cls.__mro__.index(mixin) + 1 :]
    return next((vars(base)["__call__"] for base in behind if "__call__" in vars(base)), None)


def call_signature(
    inherited: Callable[..., Any], inputs_class: type[HandInputs], annotations: dict[str, Any]
) -> inspect.Signature:
    """The inherited signature with the fields of `inputs_class` behind it, keyword-only ones last, before `**kwargs`.

    Steps and guidance default to `None`, which stands for the checkpoint's default.
    """
    parameters = [_adapted(p, annotations) for p in inspect.signature(inherited).parameters.values()]
    keywords = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    hands = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY if field.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=field.type,
        )
        for field in sorted(fields(inputs_class), key=lambda field: field.kw_only is True)
    ]
    return inspect.Signature(
        [*(p for p in parameters if p not in keywords), *hands, *keywords],
        return_annotation=HanDiffuserPipelineOutput | Any,
    )


def call_docstring(
    signature: inspect.Signature, own: str, inputs_class: type[HandInputs], inherited: Callable[..., Any]
) -> str:
    """Each argument described once, in the order of the signature: by the class, by us, or else by diffusers."""
    introduction, _, _ = own.partition("\n        Args:\n")
    _, _, example = own.partition("\n        Examples:\n")
    inputs_docs = [base.__doc__ or "" for base in reversed(inputs_class.__mro__) if issubclass(base, HandInputs)]
    described: dict[str, str] = {}
    for text in (inherited.__doc__ or "", COMMON_DOC, *inputs_docs, own):
        described |= _entries(text)
    listed = dict.fromkeys(described[name] for name in signature.parameters if name in described)
    sections = [inspect.cleandoc(introduction), "Args:\n" + textwrap.indent("".join(listed), "    "), RETURNS_DOC]
    text = textwrap.indent("\n\n".join(section.strip("\n") for section in sections), " " * 8)
    return f"{text.lstrip()}\n\n        Examples:\n{example}"


def _entries(docstring: str) -> dict[str, str]:
    """The descriptions in the section "Args:" of a docstring, by the names of the arguments."""
    section = re.search(r"^( *)Args:\n((?:\1 +\S.*\n|\s*\n)*)", inspect.cleandoc(docstring) + "\n", re.M)
    entries: dict[str, str] = {}
    for entry in re.split(r"^(?=\w)", textwrap.dedent(section[2]), flags=re.M) if section else ():
        names = re.match(r"[\w, ]*\w", entry)
        entries |= dict.fromkeys(names[0].split(", "), entry.rstrip() + "\n") if names else {}
    return entries


def _adapted(parameter: inspect.Parameter, annotations: dict[str, Any]) -> inspect.Parameter:
    """One of diffusers' parameters with our default and an annotation that admits it."""
    name, default = parameter.name, parameter.default
    if parameter.kind is parameter.VAR_KEYWORD:
        return parameter.replace(annotation=Any)
    if name in _DEFAULT_OF_CHECKPOINT:
        default = None
    elif isinstance(default, list):
        default = tuple(default)
    annotation = {**_ANNOTATIONS, **annotations}.get(name, parameter.annotation)
    if default is None and type(None) not in get_args(annotation):
        annotation = annotation | None
    return parameter.replace(default=default, annotation=annotation)


def _bind(signature: inspect.Signature, pipeline: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without `self`, defaults filled in; refuses names that there are not."""
    legacy = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    known = [name for name in (*signature.parameters, *(LEGACY_CALLBACKS if legacy else ())) if name not in legacy]
    for name in kwargs:
        if name not in known[1:]:
            hint = did_you_mean(name, (other for other in known[1:] if other not in LEGACY_CALLBACKS))
            raise TypeError(f"{type(pipeline).__name__} has no argument `{name}`{hint}")
    bound = signature.bind(pipeline, *args, **kwargs)
    bound.apply_defaults()
    call = dict(bound.arguments)
    del call[known[0]]
    for name in legacy:
        call |= call.pop(name)
    return call
