"""Studio hands, whose parameters are known, for comparison with imported ones."""

import torch

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.hands import HandBodyModel, HandGeometry, HandParams
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

WIDTH, HEIGHT = 320, 240
MIRROR = torch.tensor([-1.0, 1.0, 1.0])
MANO_WRIST = torch.tensor([0.0957, 0.0064, 0.0062])


def studio_hands(body: HandBodyModel, kinds: tuple[str, ...]) -> tuple[HandParams, HandGeometry, torch.Tensor]:
    """Hands with the mean shape, their geometry, and their joints `(B, 2, 21, 2)` in pixels."""
    hands = pose_scenes([sample_scene(7, "train", i, kind) for i, kind in enumerate(kinds)], body)
    hands = hands.replace(betas=torch.zeros(len(hands), 10))
    return hands, body(hands), hand_joints_in_pixels(hands, body, WIDTH, HEIGHT)


def visible_hands(hands: HandParams) -> list[tuple[int, int]]:
    return [tuple(place) for place in hands.hand_visible.nonzero().tolist()]


def angles(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Between rotations, degrees."""
    trace = (first * second).sum((-2, -1))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
