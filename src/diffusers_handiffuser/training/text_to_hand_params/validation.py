"""Stage 1's validation: hands sampled for held-out captions, measured against their own and drawn."""

import numpy as np
import torch

from ...hands import HandBodyModel, HandParams
from ...hands.rotations import rotmat_geodesic_distance, rotvec_to_rotmat
from ...rendering.drawing import draw_hand_mesh
from ..engine.tracking import picture_grid

_DRAWN, _SIZE = 8, 128


def compare_hands(sampled: HandParams, wanted: HandParams, body_model: HandBodyModel) -> dict[str, float]:
    """How well sampled hands fit those of held-out rows with the same captions.

    `visibility`: part of the rows with the right hands visible; `finger_error`: mean angle in degrees between the
    finger rotations of hands visible in both; `in_picture`: part of the sampled visible hands' joints that lie in the
    picture.
    """
    numbers = {"visibility": (sampled.hand_visible == wanted.hand_visible).all(-1).float().mean().item()}
    both = sampled.hand_visible & wanted.hand_visible
    if both.any():
        ours, theirs = (
            rotvec_to_rotmat(torch.stack([h.left_hand_pose, h.right_hand_pose], 1).unflatten(-1, (15, 3)))[both]
            for h in (sampled, wanted)
        )
        numbers["finger_error"] = rotmat_geodesic_distance(ours, theirs).rad2deg().mean().item()
    if sampled.hand_visible.any():
        inside = (body_model(sampled).joints_2d.abs() <= 1).all(-1).float().mean(-1)
        numbers["in_picture"] = inside[sampled.hand_visible].mean().item()
    return numbers


def draw_samples(sampled: HandParams, wanted: HandParams, body_model: HandBodyModel) -> np.ndarray:
    """The first held-out rows' own hands, and below them those sampled for their captions and for further prompts.

    Args:
        sampled ([`HandParams`] of N + M rows): for N held-out captions, then for M prompts.
        wanted ([`HandParams`] of N rows): the held-out rows' own.
        body_model ([`HandBodyModel`]): draws them.
    """
    first = range(min(_DRAWN, len(wanted)))
    shown = [*first, *range(len(wanted), len(sampled))]
    lines = [draw_hand_mesh(wanted[list(first)], body_model, _SIZE)] if first else []
    lines.append(draw_hand_mesh(sampled[shown], body_model, _SIZE))
    return picture_grid([[np.asarray(picture) for picture in line] for line in lines])
