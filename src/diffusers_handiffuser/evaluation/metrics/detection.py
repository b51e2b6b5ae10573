"""Detector metrics: recall, confidence, handedness, finger count, joint error, PCK.

A missed hand counts: as not detected, with confidence 0, the wrong side, the wrong finger count and no correct joint.
The same metrics over detected hands alone end in `_found`.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from ...detection.detector import DetectedHand
from ...hands.skeleton import SIDES
from ...utils.moved import renamed_argument

PCK_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 11))
"""Relative to the hand's size."""

_LONG_REACH, _THUMB_REACH = 1.2, 1.2
_WRIST, _PINKY_KNUCKLE = 0, 17


def extended_fingers(joints: torch.Tensor) -> torch.Tensor:
    """Which fingers are extended, by a rule that needs no depth.

    A long finger is extended if its tip is more than 1.2 times as far from the wrist as its middle joint, the thumb if
    its tip is more than 1.2 times as far from the little finger's knuckle as its own knuckle is. The rule is ours; 1.2
    is right for most hands of the studio's renders.

    Args:
        joints (`torch.Tensor` of shape `(..., 21, 2 or 3)`): OpenPose order, any unit.

    Returns:
        `torch.Tensor` of shape `(..., 5)`, bool: thumb, index, middle, ring, pinky.
    """

    def reach(joint: int, origin: int) -> torch.Tensor:
        return (joints[..., joint, :] - joints[..., origin, :]).norm(dim=-1)

    fingers = [reach(4, _PINKY_KNUCKLE) > _THUMB_REACH * reach(2, _PINKY_KNUCKLE)]
    for finger in range(1, 5):
        middle, tip = 4 * finger + 2, 4 * finger + 4
        fingers.append(reach(tip, _WRIST) > _LONG_REACH * reach(middle, _WRIST))
    return torch.stack(fingers, -1)


def match_detections(detections: Sequence[DetectedHand], joints: torch.Tensor) -> list[DetectedHand | None]:
    """Matches hands and detections: the assignment with the smallest sum of mean joint distances, whatever the sides.

    Hands are matched as long as there are detections, however far apart; the joint error shows how far.

    Args:
        detections (`Sequence[DetectedHand]`): of one image.
        joints (`torch.Tensor` of shape `(K, 21, 2)`): of its hands, pixels.

    Returns:
        `list` of K: the [`DetectedHand`] of each hand, or None.
    """
    number = min(len(detections), len(joints))
    points = [np.asarray(detection.landmarks) for detection in detections]
    costs = [[np.linalg.norm(found - hand, axis=-1).mean() for found in points] for hand in joints.double().numpy()]
    pairings = (
        list(zip(hands, found, strict=True))
        for hands in itertools.combinations(range(len(joints)), number)
        for found in itertools.permutations(range(len(detections)), number)
    )
    best = min(pairings, key=lambda pairs: sum(costs[hand][found] for hand, found in pairs))
    matched: list[DetectedHand | None] = [None] * len(joints)
    for hand, found in best:
        matched[hand] = detections[found]
    return matched


@renamed_argument("side_told", "side_named")
def score_detections(
    detections: Sequence[DetectedHand],
    joints: torch.Tensor,
    wanted: torch.Tensor,
    fingers: torch.Tensor,
    drawn: torch.Tensor | None = None,
    side_named: bool = True,
) -> dict[str, list[float]]:
    """Scores the detections of one image.

    Args:
        detections (`Sequence[DetectedHand]`): what was found.
        joints (`torch.Tensor` of shape `(2, 21, 2)`): where the hands should be, [left, right], pixels.
        wanted (`torch.Tensor` of shape `(2,)`, bool): which hands should be there.
        fingers (`torch.Tensor` of shape `(2,)`): number of each hand's fingers that should be extended.
        drawn (`torch.Tensor` of shape `(2,)`, bool, *optional*): the hands whose joints the image was conditioned
            on; only their joint errors count. All by default.
        side_named (`bool`): whether the caption names the side, so that it can be scored.

    Returns:
        `dict` of lists with a number for each hand that should be there: `"detected"`; `"confidence"`, `"handedness"`
        and `"finger_count"` (0 for a miss), the same with `_found` (detected hands only), `"joint_error"` (mean
        distance relative to the hand's size, the longer side of its joints' box; detected hands only) and `"pck@..."`
        (part of the joints within that distance, relative to the size; 0 for a miss). Also `"extra_hands"`, one number
        for the image: unmatched detections. Lists that do not apply are empty, such as confidence if the detector
        gives none.
    """
    sides = wanted.nonzero()[:, 0].tolist()
    matched = match_detections(detections, joints[wanted])
    names = ("detected", "confidence", "handedness", "finger_count")
    scores: dict[str, list[float]] = {name: [] for name in (*names, *(f"{name}_found" for name in names[1:]))}
    scores |= {name: [] for name in ("joint_error", *(f"pck@{threshold:g}" for threshold in PCK_THRESHOLDS))}
    scores["extra_hands"] = [float(len(detections) - sum(found is not None for found in matched))]
    has_confidence = all(detection.confidence is not None for detection in detections)
    for side, found in zip(sides, matched, strict=True):
        values = {"detected": float(found is not None)}
        if has_confidence:
            values["confidence"] = 0.0 if found is None else float(found.confidence or 0.0)
        if side_named:
            values["handedness"] = float(found is not None and found.side == SIDES[side])
        count = -1 if found is None else int(extended_fingers(torch.as_tensor(found.landmarks)).sum())
        values["finger_count"] = float(count == int(fingers[side]))
        for name, value in values.items():
            scores[name].append(value)
            if found is not None and name != "detected":
                scores[f"{name}_found"].append(value)
        if drawn is None or drawn[side]:
            _score_joints(scores, found, joints[side])
    return scores


def _score_joints(scores: dict[str, list[float]], found: DetectedHand | None, joints: torch.Tensor) -> None:
    """Adds the joint error and PCK of one hand with joints `(21, 2)` and its detection, if there is one."""
    if found is None:
        distances = torch.full((21,), torch.inf)
    else:
        size = (joints.amax(0) - joints.amin(0)).amax()
        distances = (torch.as_tensor(found.landmarks) - joints).norm(dim=-1) / size
        scores["joint_error"].append(distances.mean().item())
    for threshold in PCK_THRESHOLDS:
        scores[f"pck@{threshold:g}"].append((distances <= threshold).double().mean().item())
