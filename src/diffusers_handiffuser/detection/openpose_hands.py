"""The hands among OpenPose's key points, as detected hands."""

from collections.abc import Sequence

import torch

from ..hands.skeleton import SIDES
from ..rendering.keypoints import OpenPoseKeypoints
from .detector import DetectedHand


def hands_of_people(keypoints: OpenPoseKeypoints) -> tuple[list[list[DetectedHand]], list[str]]:
    """The hands of each person whose 21 points were all found, and what is said of the others, one line each."""
    people: list[list[DetectedHand]] = []
    left_out = []
    for person, pair in enumerate(keypoints.hands):
        people.append([])
        for side, points in zip(SIDES, pair, strict=True):
            missing = int((points[:, 2] <= 0).sum())
            if missing == 0:
                score = float(points[:, 2].mean().clamp(0, 1))
                people[-1].append(DetectedHand(side, points[:, :2].numpy(), score))
            elif missing < len(points):
                left_out.append(
                    f"the {side} hand of person {person}: {missing} of its {len(points)} points are missing"
                )
    return people, left_out


def sizes_of(keypoints: Sequence[OpenPoseKeypoints]) -> torch.Tensor:
    """The sizes `(I, 2)` of the images, int64; raises a `ValueError` if one is not known."""
    sizes = []
    for number, points in enumerate(keypoints):
        if points.size is None:
            raise ValueError(f"`image_sizes` must be given: the key points of image {number} name no size.")
        sizes.append(points.size)
    return torch.tensor(sizes, dtype=torch.int64)
