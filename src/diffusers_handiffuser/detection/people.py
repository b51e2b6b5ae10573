"""Which hands of an image belong to one person."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from ..hands import HandBodyModel
from ..hands.skeleton import JOINT_NAMES

_SIZE_RATIO = 1.5
"""Beyond it, one camera for both hands would be too far off: about a fifteenth of their size at this ratio."""


class Reach(NamedTuple):
    """Where the wrists of a person who faces the camera can be, metres.

    Args:
        shoulders (`float`): width; the left one is to the right in the image.
        arms (`float`): length of both together, stretched.
    """

    shoulders: float
    arms: float


def reach_of(body_model: HandBodyModel) -> Reach:
    """The reach of a body of mean shape."""
    names = ("left_shoulder", "left_elbow", "left_wrist", "right_shoulder")
    shoulder, elbow, wrist, other = body_model.joint_template[[JOINT_NAMES.index(name) for name in names]].cpu()
    return Reach(float((shoulder - other).norm()), 2 * float((elbow - shoulder).norm() + (wrist - elbow).norm()))


def group_people(
    images: Sequence[int], sides: Sequence[int], wrists: torch.Tensor, scales: torch.Tensor, reach: Reach
) -> list[list[int]]:
    """Groups hands into people: a left and a right hand of like size which a person's arms can reach.

    Pairs are made nearest first, near in size and in place. Hands without a partner are people with one hand.

    Args:
        images (sequence of `int`): the image of each of the N hands.
        sides (sequence of `int`): indices into `SIDES`.
        wrists (`torch.Tensor` of shape `(N, 2)`): pixels.
        scales (`torch.Tensor` of shape `(N,)`): pixels per metre.
        reach ([`Reach`]): of a person.

    Returns:
        `list` of one or two indices for each person, the left hand first; by image, then in the order of the hands.
    """
    scored = []
    for left, right in _pairs(images, sides):
        ratio = float((scales[left].log() - scales[right].log()).abs().exp())
        offset = (wrists[left] - wrists[right]) / (scales[left] * scales[right]).sqrt()
        stretch = float((offset - offset.new_tensor([reach.shoulders, 0.0])).norm()) / reach.arms
        if ratio <= _SIZE_RATIO and stretch <= 1:
            scored.append(((ratio - 1) / (_SIZE_RATIO - 1) + stretch, left, right))
    partner: dict[int, int] = {}
    for _, left, right in sorted(scored):
        if left not in partner and right not in partner:
            partner |= {left: right, right: left}
    groups = {frozenset((hand, partner.get(hand, hand))) for hand in range(len(sides))}
    people = [sorted(group, key=lambda hand: sides[hand]) for group in groups]
    return sorted(people, key=lambda group: (images[group[0]], min(group)))


def _pairs(images: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Every left hand with every right hand of its image."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for hand, (image, side) in enumerate(zip(images, sides, strict=True)):
        found.setdefault(image, ([], []))[side].append(hand)
    for lefts, rights in found.values():
        yield from itertools.product(lefts, rights)
