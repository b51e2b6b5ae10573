"""The pose that a hand is to have: its fit within anatomical limits, one that was sampled, or one that was given.

Whatever the source, the hand stays where it was found: wrist, scale, turn and side are those of the fit, and only the
fingers are posed. A pose of the other hand is mirrored.
"""

from typing import Any

import torch

from ..hands import HandParams
from ..hands.joint_limits import POSSIBLE, joint_limits
from ..hands.params import check_hand_params
from ..hands.skeleton import SIDES
from .found_hands import FoundHand

_LEFT_AXES = torch.tensor([1.0, -1.0, -1.0])
"""From the axis-angles of a left hand to those of a right one."""


def wanted_hand(hand: FoundHand, row: HandParams | None) -> HandParams:
    """The hand that is wanted in place of one that was found, of batch shape `(1,)`.

    Args:
        hand ([`FoundHand`]): where it is.
        row ([`HandParams`] of batch shape `()`, *optional*): whose fingers it gets; by default its own, within
            anatomical limits.

    Raises:
        ValueError: the row has no visible hand.
    """
    if row is None:
        return within_limits(hand.fit)
    if not row.hand_visible.any():
        raise ValueError("`hands` have no visible hand whose pose could be taken.")
    if not row.hand_visible[SIDES.index(hand.side)]:
        row = row.mirror()
    name = f"{hand.side}_hand_pose"
    return hand.fit.replace(**{name: getattr(row, name)[None]})


def one_for_each(hands: HandParams, number: int) -> HandParams:
    """Given hands as one row for each of several hands.

    Raises:
        ValueError: there is neither one row nor as many as hands.
    """
    rows = hands.to("cpu").reshape(-1)
    if len(rows) not in (1, number):
        raise ValueError(f"`hands` must have one row, or one for each of {number} hands, got {len(rows)}.")
    return rows if len(rows) == number else rows.repeat_interleave(number)


def check_pose_source(hands: Any) -> None:
    """Refuses what is neither `"fit"`, `"sample"` nor [`HandParams`]."""
    if not isinstance(hands, str):
        check_hand_params(hands)
    elif hands not in ("fit", "sample"):
        raise ValueError(f"`hands` must be 'fit', 'sample' or HandParams, got {hands!r}.")


def within_limits(hand_params: HandParams) -> HandParams:
    """The same hands with every finger joint within the limits that are `POSSIBLE`."""
    low, high = joint_limits(POSSIBLE)
    right = hand_params.right_hand_pose.unflatten(-1, (15, 3))
    left = hand_params.left_hand_pose.unflatten(-1, (15, 3)) * _LEFT_AXES
    return hand_params.replace(
        right_hand_pose=right.clamp(low, high).flatten(-2),
        left_hand_pose=(left.clamp(low, high) * _LEFT_AXES).flatten(-2),
    )
