"""Views of a hand: upright, a right hand, image and mesh in the same place."""

import numpy as np
import pytest
import torch
from studio_hands import SIZE, pair

from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair.upright_views import fitted_hand, place_view, view_image, view_mesh


@pytest.fixture(scope="module")
def known():
    good, _, _, hand_params = pair("blurred", 3)
    return good, hand_params, fitted_hand(hand_params, procedural_body(), SIZE, SIZE)


def test_a_hand_points_up_and_fills_the_view(known):
    placement = place_view(known[2], 100, 1.6, upright=True)
    joints = placement.points(known[2].joints.double())
    palm = joints[[5, 9, 13, 17]].mean(0) - joints[0]
    assert abs(palm[0]) < 1e-4 and palm[1] < 0
    low, high = joints.amin(0), joints.amax(0)
    assert (high - low).amax() == pytest.approx(100 / 1.6)
    assert torch.allclose((low + high) / 2, torch.full((2,), 50.0).double())


def test_pixels_go_where_points_go(known):
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    x, y = known[2].joints[9].round().long().tolist()
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    for upright in (True, False):
        placement = place_view(known[2], 96, 2.0, upright)
        view = view_image(image, placement)[0].double()
        rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
        found = torch.stack([(view * (columns + 0.5)).sum(), (view * (rows + 0.5)).sum()]) / view.sum()
        wanted = placement.points(torch.tensor([x + 0.5, y + 0.5]).double())
        assert (found - wanted).norm() < 0.5


def test_large_images_are_not_aliased(known):
    """A fine checkerboard becomes grey where it is shown smaller, not a coarser pattern."""
    rows, columns = np.indices((SIZE, SIZE))
    board = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    view = view_image(board, place_view(known[2], 24, 2.0, upright=True)).float()
    assert view[:, 4:-4, 4:-4].std() < 25


def test_a_left_hand_looks_like_a_right_one(known):
    """The mirrored image of a hand of the other side has the same view, and so has its mesh."""
    image, _, hand = known
    flip, shift = torch.tensor([-1.0, 1.0, 1.0]), torch.tensor([SIZE, 0.0, 0.0])
    mirrored = hand._replace(
        side=1 - hand.side,
        joints=hand.joints * flip[:2] + shift[:2],
        vertices=hand.vertices * flip + shift,
    )
    own, other = place_view(hand, 64, 1.6, upright=True), place_view(mirrored, 64, 1.6, upright=True)
    difference = view_image(image, own).float() - view_image(image[:, ::-1], other).float()
    assert difference.abs().mean() < 1
    assert (view_mesh(hand, own) != view_mesh(mirrored, other)).float().mean() < 0.01


def test_the_mesh_covers_the_drawn_hand(known):
    """Where the mesh is, the image of the fitted hand has a hand: another colour than the plain background."""
    placement = place_view(known[2], 96, 1.6, upright=True)
    mesh = view_mesh(known[2], placement)
    inside = mesh[0] > 0
    assert 0.1 < inside.float().mean() < 0.6
    assert ((mesh[1] > 0) == inside).all() and mesh[1][inside].min() >= 51
    assert set(mesh[2].unique().tolist()) == {0, 51, 102, 153, 204, 255}
    joints = placement.points(known[2].joints.double()).long()
    # The thumb's part lies at its joints, and that of the little finger at its own.
    assert mesh[2][joints[3, 1], joints[3, 0]] == 51 or mesh[2][joints[19, 1], joints[19, 0]] == 255


def test_other_than_one_hand_is_refused():
    with pytest.raises(ValueError, match="one visible hand"):
        fitted_hand(HandParams.zeros(1), procedural_body(), SIZE, SIZE)
    with pytest.raises(ValueError, match="one visible hand"):
        fitted_hand(HandParams.zeros(2), procedural_body(), SIZE, SIZE)
