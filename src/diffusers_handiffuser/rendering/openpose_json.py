"""OpenPose's JSON: key points of the people in an image, which OpenPose, ComfyUI and editors of poses exchange."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.params import HandParams, check_hand_params
from ..utils.atomic_files import atomic_write
from ..utils.messages import reason_of
from .conditions import checked_parts, checked_size
from .keypoints import NUM_BODY_POINTS, NUM_HAND_POINTS, PARTS, OpenPoseKeypoints, keypoints_of

_MAX_BYTES = 2**28
_VERSION = 1.3
_BODY_25 = (*range(8), *range(9, 15), *range(15, 19))
"""The 18 COCO points among the 25 of BODY_25."""
_HANDS = ("hand_left_keypoints_2d", "hand_right_keypoints_2d")
_LARGEST_FRACTION = 2.0
"""Coordinates are fractions of the image's sides if all are below: some points lie a little outside of the image."""


def write_openpose_json(
    path: str | os.PathLike,
    hands: HandParams | OpenPoseKeypoints,
    size: int | tuple[int, int] | None = None,
    body_model: HandBodyModel | None = None,
    *,
    parts: Sequence[str] | None = None,
) -> None:
    """Writes the key points of the people in one image as OpenPose does, in pixels.

    Beside `people`, the file has `canvas_width` and `canvas_height`, which ComfyUI and editors of poses read. A hand
    that is not visible is an empty list.

    Args:
        path (`str` or `os.PathLike`): the file.
        hands ([`HandParams`] or [`OpenPoseKeypoints`]): all rows are people of the image.
        size (`int` or `tuple[int, int]`): of the image: side of a square, or `(width, height)`, pixels. By default
            that of the key points.
        body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; else the procedural one.
        parts (sequence of `str`, *optional*): some of `"body"`, `"hands"` and `"face"`, as for
            `HandParams.to_condition("openpose", ...)`; by default all. Only for hand parameters.

    Raises:
        ValueError: if `size` is missing, or it or `parts` are not as above.
    """
    if isinstance(hands, OpenPoseKeypoints):
        if parts is not None:
            raise ValueError("`parts` are for hand parameters: key points are written as they are.")
        keypoints = hands
        if size is not None:
            keypoints = OpenPoseKeypoints(hands.body, hands.hands, checked_size(size))
        elif hands.size is None:
            raise ValueError("`size` of the image must be given: the key points have none.")
    else:
        check_hand_params(hands)
        if size is None:
            raise ValueError("`size` of the image must be given with hand parameters.")
        width, height = checked_size(size)
        rows = hands.reshape(math.prod(hands.batch_shape))
        body_model = procedural_body() if body_model is None else body_model
        keypoints = keypoints_of(rows, body_model, height, width, parts=checked_parts("openpose", parts) or PARTS)
    content = json.dumps(_to_dict(keypoints))
    with atomic_write(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def read_openpose_json(path: str | os.PathLike) -> OpenPoseKeypoints:
    """Reads the key points of the people in one image, written by OpenPose, ComfyUI or an editor of poses.

    Bodies may have 18 points (COCO) or 25 (BODY_25, whose feet and hip centre are left out), or none, and coordinates
    may be pixels, or fractions of the sides that `canvas_width` and `canvas_height` name. The file holds the people of
    an image, or a list of one such image, as ComfyUI writes. Points of faces are not read.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        [`OpenPoseKeypoints`]: in pixels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything else; the message names the file and what is wrong in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No OpenPose key points at {path}: there is no such file.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        return _from_json(json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise ValueError(f"Cannot read OpenPose key points from {path}: {reason_of(error)}.") from None


def is_openpose_json(path: str | os.PathLike) -> bool:
    """Whether a file that can be read as JSON holds `people`, or a list; nothing more is checked."""
    path = Path(path)
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return False
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError, MemoryError):
        return False
    return isinstance(values, list) or (isinstance(values, dict) and "people" in values)


def _to_dict(keypoints: OpenPoseKeypoints) -> dict[str, Any]:
    people = []
    for body, hands in zip(keypoints.body, keypoints.hands, strict=True):
        person: dict[str, Any] = {"person_id": [-1], "pose_keypoints_2d": body.flatten().tolist()}
        person |= {
            name: hand.flatten().tolist() if hand.any() else [] for name, hand in zip(_HANDS, hands, strict=True)
        }
        people.append(person | {"face_keypoints_2d": []})
    assert keypoints.size is not None
    width, height = keypoints.size
    return {"version": _VERSION, "people": people, "canvas_width": width, "canvas_height": height}


def _from_json(values: Any) -> OpenPoseKeypoints:
    if isinstance(values, list):
        if len(values) != 1:
            raise ValueError(f"it is a list of {len(values)} images; one at a time is read")
        values = values[0]
    if not isinstance(values, dict) or not isinstance(values.get("people"), list):
        hand_params = isinstance(values, dict) and str(values.get("format", "")).startswith("diffusers_handiffuser")
        raise ValueError(
            "it holds hand parameters, which `HandParams.load` reads" if hand_params else "it has no list of `people`"
        )
    people = values["people"]
    body = torch.zeros(len(people), NUM_BODY_POINTS, 3, dtype=torch.float64)
    hands = torch.zeros(len(people), 2, NUM_HAND_POINTS, 3, dtype=torch.float64)
    for number, person in enumerate(people):
        where = f"people[{number}]"
        if not isinstance(person, dict) or not {"pose_keypoints_2d", *_HANDS} & person.keys():
            raise ValueError(f"{where} has no `pose_keypoints_2d`")
        found = _points(person, "pose_keypoints_2d", where, (NUM_BODY_POINTS, 25))
        body[number] = found[list(_BODY_25)] if len(found) == 25 else found
        for hand, name in enumerate(_HANDS):
            hands[number, hand] = _points(person, name, where, (NUM_HAND_POINTS,))
    size = _size(values)
    seen = torch.cat([points[points[..., 2] > 0][:, :2] for points in (body, hands)])
    if len(seen) and seen.abs().max() < _LARGEST_FRACTION:
        if size is None:
            raise ValueError("its coordinates are fractions, and it has no `canvas_width` and `canvas_height`")
        if seen.min() < -0.5:
            raise ValueError("its coordinates go from -1 to 1; pixels and fractions from 0 to 1 are read")
        for points in (body, hands):
            points[..., :2] *= torch.tensor(size, dtype=torch.float64)
    return OpenPoseKeypoints(body, hands, size)


def _points(person: dict[str, Any], name: str, where: str, numbers: tuple[int, ...]) -> torch.Tensor:
    """Points `(N, 3)`, N one of `numbers`; missing ones are zeros, all of them if there is no list or an empty one."""
    values = person.get(name)
    if values is None or values == []:
        return torch.zeros(numbers[0], 3, dtype=torch.float64)
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{where}.{name} is not a list of numbers")
    if len(values) not in [3 * number for number in numbers]:
        wanted = " or ".join(f"{3 * number} ({number} points)" for number in numbers)
        raise ValueError(f"{where}.{name} has {len(values)} numbers; {wanted} are read")
    try:
        points = torch.tensor(values, dtype=torch.float64).view(-1, 3)
    except (OverflowError, RuntimeError):
        points = torch.full((1, 3), torch.inf)
    if not torch.isfinite(points).all():
        raise ValueError(f"{where}.{name} holds a number that is not finite")
    return points * (points[:, 2:] > 0)


def _size(values: dict[str, Any]) -> tuple[int, int] | None:
    sides: list[Any] = [values.get(name) for name in ("canvas_width", "canvas_height")]
    if sides == [None, None]:
        return None
    if not all(type(side) in (int, float) and 1 <= side < 2**31 and side == int(side) for side in sides):
        raise ValueError(f"`canvas_width` and `canvas_height` must be whole numbers of pixels, got {sides}")
    return int(sides[0]), int(sides[1])
