"""Which rows of a studio test set are hard, and whom they show: rules, all of them on the row itself.

* `unusual_fingers`: a hand has its fingers extended in a combination that no named gesture of the studio has.
* `extreme_view`: the plane of a hand's palm (wrist and the knuckles of index and little finger) is turned by more than
  60 degrees from the plane of the image: the hand is seen from its edge.
* `overlapping_hands`: both hands are visible, and the boxes around their joints share a fifth of the smaller one or
  more. The studio keeps hands apart; `overlapping_hands.py` makes rows for this.
* `plain`: none of these.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.studio.gestures import GESTURES, gesture_by_name

EDGE_ON = 0.5
"""Cosine of 60 degrees."""
SHARED_BOX = 0.2
WRIST, INDEX_KNUCKLE, LITTLE_KNUCKLE = 0, 5, 17
"""In OpenPose's order."""


def hard_subsets(rows: Sequence[dict], hands: HandParams, body_model: HandBodyModel) -> dict[str, torch.Tensor]:
    """Which of N rows belong to each subset, `(N,)` bool; `hands` are the rows' own."""
    geometry = body_model(hands)
    palm = geometry.joints_3d[..., [INDEX_KNUCKLE, LITTLE_KNUCKLE], :] - geometry.joints_3d[..., [WRIST], :]
    normals = F.normalize(torch.linalg.cross(palm[..., 0, :], palm[..., 1, :], dim=-1), dim=-1)
    edge_on = (normals[..., 2].abs() < EDGE_ON) & hands.hand_visible
    named = {gesture.extended for gesture in GESTURES.values()}
    fingers = [[gesture_by_name(name).extended for name in row["scene"]["gestures"].values()] for row in rows]
    subsets = {
        "unusual_fingers": torch.tensor([any(up not in named for up in hands_up) for hands_up in fingers]),
        "extreme_view": edge_on.any(1),
        "overlapping_hands": (shared_box(geometry.joints_2d) >= SHARED_BOX) & hands.hand_visible.all(1),
    }
    return {**subsets, "plain": ~torch.stack(list(subsets.values())).any(0)}


def shared_box(joints_2d: torch.Tensor) -> torch.Tensor:
    """The part `(N,)` of the smaller box that the boxes around two hands' joints `(N, 2, 21, 2)` share."""
    low, high = joints_2d.amin(2), joints_2d.amax(2)
    overlap = (high.amin(1) - low.amax(1)).clamp(min=0).prod(-1)
    return overlap / (high - low).prod(-1).amin(1)


def people(rows: Sequence[dict]) -> dict[str, list[str]]:
    """Groups of N rows for the question of fairness: the tone of the skin, and which hands are raised."""
    return {
        "skin": [row["scene"]["skin"] for row in rows],
        "handedness": [
            "both" if len(row["scene"]["gestures"]) == 2 else next(iter(row["scene"]["gestures"])) for row in rows
        ],
    }
