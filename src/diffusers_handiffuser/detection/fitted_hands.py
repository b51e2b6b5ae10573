"""People whose hands were fitted to images, and what can be drawn of them: the hands, as the body is assumed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from .finding import Photograph, read_photograph
from .placing import PlacedHands

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass
class FittedHands(PlacedHands):
    """People whose hands were fitted to landmarks, one row per person; none is a legal result.

    Their hands are known. Their bodies are assumed, see `placing`, so what is drawn here are the hands alone.
    `hand_params.to_condition("openpose", ...)` draws the assumed arms and body as well, where they are in the image.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): the people.
        error_pixels (`torch.Tensor` of shape `(B, 2)`): mean distance of each hand's 21 joints, [left, right], from
            the landmarks; NaN where no hand is visible.
        error_metres (`torch.Tensor` of shape `(B, 2)`): mean distance of the aligned 3D joints from the 3D landmarks;
            NaN where there are none.
        confidence (`torch.Tensor` of shape `(B, 2)`): probability that the side is right and the mean error of the
            joints is below a tenth of the hand's size; NaN where no hand is visible. See `confidence`.
        image_index (`torch.Tensor` of shape `(B,)`, int64): the image that each person is in.
        image_sizes (`torch.Tensor` of shape `(B, 2)`, int64): its width and height, pixels.
    """

    error_metres: torch.Tensor
    confidence: torch.Tensor
    image_index: torch.Tensor
    image_sizes: torch.Tensor

    def __len__(self) -> int:
        return len(self.hand_params)

    def __repr__(self) -> str:
        hands, images = int(self.hand_params.hand_visible.sum()), len(self.image_index.unique())
        return f"FittedHands(people={len(self)}, hands={hands}, images={images})"

    def __getitem__(self, index: slice | torch.Tensor | list[int]) -> "FittedHands":
        """Some of the people: by a slice, a mask or a list of rows, such as `fitted[fitted.image_index == 2]`."""
        rows = torch.arange(len(self))[index]
        if rows.ndim > 1:
            raise IndexError(f"FittedHands are indexed by people: one value for each, got shape {tuple(rows.shape)}.")
        rows = rows.reshape(-1)
        return FittedHands(**{name: value[rows] for name, value in vars(self).items()})

    def to_condition(
        self,
        kind: str,
        size: int | tuple[int, int] | None = None,
        body_model: HandBodyModel | None = None,
        *,
        style: str = "dwpose",
        parts: Sequence[str] | None = None,
        people: bool = False,
    ) -> "list[Image]":
        """The hands of each person as an image for ControlNets and T2I-Adapters, without the assumed body.

        Args:
            kind (`str`): `"openpose"`, `"depth"`, `"depth_hand"`, `"normal"` or `"mask"`, see
                [`HandParams.to_condition`].
            size (`int` or `tuple[int, int]`, *optional*): side of a square image, or `(width, height)`, pixels. By
                default that of the person's image.
            body_model ([`HandBodyModel`], *optional*): that of the fit; by default the procedural one.
            style (`str`): how a skeleton is drawn, see [`HandParams.to_condition`].
            parts (sequence of `str`, *optional*): what is shown; by default the hands alone.
            people (`bool`): draws all people of a photograph into one image.

        Returns:
            `list` of `PIL.Image.Image`: one per row, or with `people` one per photograph that has any.
        """
        from ..rendering.conditions import check_condition, draw_condition

        check_condition(kind, style, parts, people)
        rows = [self.image_index == number for number in self.image_index.unique()] if people else range(len(self))
        images: list[Image] = []
        for chosen in rows:
            own = self.image_sizes[chosen].reshape(-1, 2)[0].tolist()
            image = draw_condition(
                self.hand_params[chosen],
                kind,
                tuple(own) if size is None else size,
                body_model,
                style=style,
                parts=("hands",) if parts is None else parts,
                people=people,
            )
            assert not isinstance(image, list)
            images.append(image)
        return images

    def overlay(
        self,
        images: Photograph | Sequence[Photograph],
        body_model: HandBodyModel | None = None,
        max_side: int = 1600,
    ) -> "list[Image]":
        """The photographs with the fitted hands drawn over them.

        Args:
            images: the photographs, in the order of `image_index`: one or a list of files, PIL images or arrays, as
                for `fit_hands`. They may be smaller or larger than those that were fitted.
            body_model ([`HandBodyModel`], *optional*): that of the fit; by default the procedural one.
            max_side (`int`): larger photographs are drawn smaller, pixels.

        Returns:
            `list` of `PIL.Image.Image`: one per photograph, RGB; without hands, a copy.

        Raises:
            ValueError: if there are too few photographs, or one has another aspect than that which was fitted.
        """
        from PIL import Image, ImageOps

        from ..rendering.drawing import draw_overlay

        given: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
        photos = [Image.fromarray(read_photograph(image, f"image {i}")) for i, image in enumerate(given)]
        if len(self) and len(photos) <= int(self.image_index.max()):
            raise ValueError(f"`images` must hold image {int(self.image_index.max())}, got {len(photos)} images.")
        for i, (width, height) in zip(self.image_index.tolist(), self.image_sizes.tolist(), strict=True):
            photo = photos[i]
            if abs(photo.width * height - photo.height * width) > max(width, height, *photo.size):
                raise ValueError(
                    f"`images` must be those that were fitted, but image {i} of {photo.width} x {photo.height} pixels "
                    f"has another aspect than {width} x {height}."
                )
        body_model = procedural_body() if body_model is None else body_model
        photos = [
            ImageOps.contain(photo, (max_side,) * 2) if max(photo.size) > max_side else photo for photo in photos
        ]
        people = [self[self.image_index == i].hand_params for i in range(len(photos))]
        return [draw_overlay(photo, hands, body_model) for photo, hands in zip(photos, people, strict=True)]

    def to_glb(self, path: str | os.PathLike | None = None, body_model: HandBodyModel | None = None) -> bytes:
        """The hands of all people of one image as binary glTF, y up; also written to `path` if it is given.

        Units are metres of the first person. Others stand beside at the place and size that they have in the image;
        how far apart in depth they are is not known. Without people, the scene is empty.

        Raises:
            ValueError: if the people are of several images.
        """
        from ..rendering.mesh_export import export_glb, hands_of_an_image

        if len(self.image_index.unique()) > 1:
            raise ValueError("`to_glb` writes the people of one image; choose them: fitted[fitted.image_index == 0].")
        body_model = procedural_body() if body_model is None else body_model
        return export_glb(hands_of_an_image(self.hand_params, body_model), path)


def no_hands() -> FittedHands:
    """The result of images without hands."""
    none = torch.empty(0, 2)
    empty = torch.empty(0, dtype=torch.int64)
    return FittedHands(HandParams.zeros(0), none, none, none, empty, empty.reshape(0, 2))
