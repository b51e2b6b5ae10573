"""Further fingers along the outline, on drawn silhouettes."""

import pytest
import torch
from studio_hands import SIZE, detected

from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair.outline import trace_outline
from diffusers_handiffuser.repair.upright_views import fitted_hand, place_view, view_mesh
from diffusers_handiffuser.studio.scenes import Scene, pose_scenes

SKIN, WALL = (200, 150, 120), (40, 90, 60)
VIEW = 128


@pytest.fixture(scope="module")
def hand():
    """The view of an open hand's mesh, and its joints there."""
    scene = Scene("close_up", {"right": "open_hand"}, {"right": "palm"}, "fair", "bare", "green", "plain", "front", 3)
    _, params = detected(pose_scenes([scene], procedural_body()), "right", noise=0.0)
    fitted = fitted_hand(params, procedural_body(), SIZE, SIZE)
    placement = place_view(fitted, VIEW, 2.0, upright=True)
    return view_mesh(fitted, placement), placement.points(fitted.joints.double()).float()


def drawn(mask, wall=WALL):
    image = torch.empty(3, VIEW, VIEW, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for channel in range(3):
        plain = torch.where(mask, SKIN[channel], wall[channel]).float()
        image[channel] = (plain + 4 * torch.randn(VIEW, VIEW, generator=generator)).clamp(0, 255).byte()
    return image


def with_bar(hand, start, length, width=9):
    """The silhouette with a bar that grows out of it from a joint, away from the palm's middle."""
    mesh, joints = hand
    rows, columns = torch.meshgrid(torch.arange(VIEW), torch.arange(VIEW), indexing="ij")
    origin = joints[start]
    direction = torch.nn.functional.normalize(origin - (joints[0] + joints[9]) / 2, dim=0)
    offset = torch.stack([columns, rows], -1) + 0.5 - origin
    along, across = offset @ direction, (offset[..., 0] * direction[1] - offset[..., 1] * direction[0]).abs()
    return (mesh[0] > 0) | ((along > -4) & (along < length) & (across < width / 2))


def test_a_hand_like_its_mesh_has_no_further_finger(hand):
    outline = trace_outline(drawn(hand[0][0] > 0), *hand)
    assert outline is not None and outline.tips == 5 and outline.further == 0


def test_a_sixth_finger_is_seen(hand):
    outline = trace_outline(drawn(with_bar(hand, 17, 34)), *hand)
    assert outline is not None and outline.tips == 5 and outline.further == 1


@pytest.mark.parametrize(("length", "width"), [(12, 9), (34, 30), (200, 9)], ids=["stub", "slab", "arm"])
def test_other_forms_are_no_finger(hand, length, width):
    """Too short, too wide, or running on beyond the view."""
    outline = trace_outline(drawn(with_bar(hand, 17, length, width)), *hand)
    assert outline is not None and outline.further == 0


def test_a_missing_finger_is_counted(hand):
    mesh, joints = hand
    silhouette = (mesh[0] > 0) & (mesh[2] != 153)  # without the middle finger
    outline = trace_outline(drawn(silhouette), mesh, joints)
    assert outline is not None and outline.tips == 4


def test_before_its_own_colours_nothing_is_said(hand):
    assert trace_outline(drawn(with_bar(hand, 17, 34), wall=SKIN), *hand) is None
