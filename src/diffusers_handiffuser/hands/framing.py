"""Framing: the camera that shows hands close up, a person from the waist up, or the whole body.

Only `camera` changes; poses, shape and visibility stay. What a framing names is inside the image at any aspect ratio,
and the visible hands are also inside the image's square, at whose edge the joint tokens of stage 2 would be clamped.
"""

import numbers
from typing import Any

import torch

from .body_model import HandBodyModel, procedural_body
from .camera import project_weak_perspective
from .params import HandParams, check_hand_params
from .skeleton import JOINT_NAMES, SIDES

FRAMINGS = ("close_up", "waist_up", "full_body")
"""From near to far."""

_FILL = 0.9
"""The share of the image that the subject may fill, and of its square the hands; the rest is margin."""
_CLOSEST = 7.5
"""The largest camera scale of a close-up: 27 cm across the shorter side. A fist is not enlarged to an open hand."""

_LEGS = ("hip", "knee", "ankle", "foot")
_FOREARM = ("elbow", "wrist", "index", "middle", "pinky", "ring", "thumb")

_Box = tuple[torch.Tensor, torch.Tensor]
"""Lowest and highest `(u, v)`, each `(..., 2)`; infinite, and the wrong way around, where there is nothing."""


@torch.no_grad()
def frame_hands(
    hand_params: HandParams,
    framing: str | None,
    height: int,
    width: int,
    body_model: HandBodyModel | None = None,
    *,
    people: bool = False,
) -> HandParams:
    """The same hands in the camera that frames them, for an image of one size.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is framed.
        framing (`str`, *optional*): `"close_up"` (the visible hands), `"waist_up"` (head to hips, the visible hands
            and their arms) or `"full_body"` (head to feet); `None` returns the hands as they are.
        height (`int`): of the image, pixels.
        width (`int`): of the image, pixels.
        body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; else the procedural one.
        people (`bool`): whether the last batch axis holds the people of one image, who are framed together and keep
            their places relative to each other. Otherwise, every row is an image of its own.

    Returns:
        [`HandParams`] of the same batch shape and device. Without a visible hand, a close-up keeps its camera.

    Raises:
        ValueError: `framing` is not known, a side is not a whole number of pixels, or `people` lacks a batch axis.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline
        >>> from diffusers_handiffuser.hands import frame_hands

        >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
        >>> hands = pipe.sample_hand_params("a man waving with the left hand")
        >>> portrait = frame_hands(hands, "waist_up", height=1536, width=1024)
        >>> pose = portrait.to_condition("openpose", (1024, 1536))[0]
        ```
    """
    check_framing(framing)
    check_hand_params(hand_params)
    _check_side("height", height)
    _check_side("width", width)
    if people and not hand_params.batch_shape:
        raise ValueError("`people` needs a batch dimension, which holds the people of an image.")
    if framing is None or not hand_params.camera.numel():
        return hand_params
    body_model = procedural_body() if body_model is None else body_model
    rows = hand_params.to(body_model.device)
    hands = _hands_box(rows, body_model)
    subject = hands if framing == "close_up" else _body_box(rows, body_model, whole=framing == "full_body")
    scale = rows.camera[..., :1]
    largest = scale
    if people:
        hands, subject = _joined(hands), _joined(subject)
        largest = scale.amax(-2, keepdim=True)
    limit = _CLOSEST / largest if framing == "close_up" else torch.full_like(largest, torch.inf)
    half_image = rows.camera.new_tensor([width, height]) / min(width, height)
    zoom, centre = _fit(subject, hands, _FILL * half_image, _FILL, limit)
    camera = torch.cat([zoom * scale, rows.camera[..., 1:] - centre / scale], -1)
    found = subject[0].isfinite().all(-1, keepdim=True)
    return hand_params.replace(camera=torch.where(found, camera, rows.camera).to(hand_params.device))


def check_framing(framing: Any) -> None:
    """Refuses a framing that is not known.

    Raises:
        ValueError: it names those that are.
    """
    if framing is not None and framing not in FRAMINGS:
        raise ValueError(f"`framing` must be one of {', '.join(FRAMINGS)} or None, got {framing!r}.")


def _fit(
    subject: _Box, hands: _Box, room: torch.Tensor, square: float, limit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest enlargement, and the centre it is about, that bring everything inside.

    Along each axis, an image centred at `c` and enlarged `k` times shows `c - room / k` to `c + room / k`, which has
    to hold the subject, and its square `c - square / k` to `c + square / k`, which has to hold the hands. There is
    such a `c` if each lower bound of it is below each upper one; the nearest to the subject's middle is taken.

    Args:
        subject (`_Box`): in the present camera.
        hands (`_Box`): in the present camera.
        room (`torch.Tensor` of shape `(2,)`): half the image, in `(u, v)`.
        square (`float`): half its square.
        limit (`torch.Tensor` of shape `(..., 1)`): of the enlargement.

    Returns:
        `tuple`: enlargement `(..., 1)` and centre `(..., 2)`.
    """
    low, high = subject
    middle = (low + high) / 2
    any_hand = hands[0].isfinite()
    hand_low, hand_high = (torch.where(any_hand, side, middle) for side in hands)
    zooms = [
        2 * room / (high - low),
        2 * square / (hand_high - hand_low),
        (room + square) / (high - hand_low),
        (room + square) / (hand_high - low),
    ]
    zoom = torch.minimum(torch.stack(zooms).amin(0).amin(-1, keepdim=True), limit)
    lowest = torch.maximum(high - room / zoom, hand_high - square / zoom)
    highest = torch.minimum(low + room / zoom, hand_low + square / zoom)
    return zoom, middle.clamp(lowest, highest)


def _hands_box(rows: HandParams, body_model: HandBodyModel) -> _Box:
    """Of the meshes of the visible hands."""
    geometry = body_model(rows)
    left, right = geometry.left_vertices, geometry.right_vertices
    counts = torch.tensor([left.shape[-2], right.shape[-2]], device=rows.device)
    points = project_weak_perspective(torch.cat([left, right], -2), rows.camera)
    return _box(points, rows.hand_visible.repeat_interleave(counts, -1))


def _body_box(rows: HandParams, body_model: HandBodyModel, whole: bool) -> _Box:
    """Of the mesh of the body: all of it, or neither legs nor the forearms and hands that are not visible."""
    mesh = body_model.full_mesh(rows)
    points = project_weak_perspective(torch.cat([mesh.vertices, mesh.joints], -2), rows.camera)
    strongest = body_model.influence_weights.argmax(-1, keepdim=True)
    of_vertices = body_model.influences.long().gather(-1, strongest).squeeze(-1)
    shown = torch.ones(*rows.batch_shape, len(JOINT_NAMES), dtype=torch.bool, device=rows.device)
    if not whole:
        for joint, name in enumerate(JOINT_NAMES):
            side, _, part = name.partition("_")
            if part.startswith(_LEGS):
                shown[..., joint] = False
            elif part.startswith(_FOREARM):
                shown[..., joint] = rows.hand_visible[..., SIDES.index(side)]
    hips = shown.clone()
    hips[..., [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]] = True
    return _box(points, torch.cat([shown[..., of_vertices], hips], -1))


def _box(points: torch.Tensor, counted: torch.Tensor) -> _Box:
    """Of those `points` `(..., N, 2)` that are `counted` `(..., N)`."""
    left_out = ~counted[..., None]
    return points.masked_fill(left_out, torch.inf).amin(-2), points.masked_fill(left_out, -torch.inf).amax(-2)


def _joined(box: _Box) -> _Box:
    """One box for all rows of the last batch axis, which stays, with length 1."""
    return box[0].amin(-2, keepdim=True), box[1].amax(-2, keepdim=True)


def _check_side(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1 pixel, got {value!r}.")
