"""What the pipelines with ControlNets share: their conditions, and the caption that a ControlNet is given."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers import ControlNetModel, MultiControlNetModel
from diffusers.utils.torch_utils import is_compiled_module

from ..utils.typing import MixinBase
from .canvas import Canvas
from .images import ResultCounts, image_batch, repeat_per_result

ControlNets = ControlNetModel | list[ControlNetModel] | tuple[ControlNetModel] | MultiControlNetModel


class ControlNetMixin(MixinBase):
    """Gives a pipeline the conditions of its ControlNets; stands before `HandConditioningMixin` in the bases.

    A ControlNet was trained with the states of captions alone, and that is what it is given here: the U-Net sees
    caption and hands, the ControlNet the caption.
    """

    controlnet: Any

    @property
    def has_several_controlnets(self) -> bool:
        controlnet = self.controlnet._orig_mod if is_compiled_module(self.controlnet) else self.controlnet
        return isinstance(controlnet, MultiControlNetModel)

    def conditions_of_each(self, name: str, images: Any, counts: ResultCounts) -> list[list]:
        """The conditions of each ControlNet: one for all results, or one per result.

        Args:
            name (`str`): of the argument.
            images: what [`image_batch`] takes; with several ControlNets a list of that for each of them, or for each
                prompt a list with one condition for each.
            counts ([`ResultCounts`]): of the call.
        """
        if not self.has_several_controlnets:
            rows = list(image_batch(name, images))
            return [repeat_per_result(name, rows, len(rows), counts)]
        number, of_each = len(self.controlnet.nets), []
        nested = isinstance(images, list) and any(isinstance(item, list) for item in images)
        for conditions in images if nested else [images]:
            if not isinstance(conditions, list) or len(conditions) != number:
                raise ValueError(
                    f"`{name}` must be a list of one condition for each of the {number} ControlNets, or a list of "
                    "such lists, one for each prompt."
                )
        for condition in zip(*images, strict=True) if nested else images:
            rows = list(image_batch(name, condition))
            of_each.append(repeat_per_result(name, rows, len(rows), counts))
        return of_each

    def conditions_on_canvas(self, of_each: Sequence[list], canvas: Canvas) -> torch.Tensor | list[torch.Tensor]:
        """The conditions as pipelines of diffusers take them that start from an image: a batch for each ControlNet."""
        batches = [canvas.preprocess(rows, self.control_image_processor) for rows in of_each]
        return batches if self.has_several_controlnets else batches[0]

    @contextlib.contextmanager
    def captions_for_controlnet(self) -> Iterator[None]:
        """Meanwhile the ControlNet is given the caption's states out of those of caption and hands."""
        handle = self.controlnet.register_forward_pre_hook(self._without_hands, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _without_hands(
        self, controlnet: torch.nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        states = self.caption_states(kwargs["encoder_hidden_states"])
        return args, {**kwargs, "encoder_hidden_states": states}
