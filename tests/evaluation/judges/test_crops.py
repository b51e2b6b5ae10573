"""Hand crops: where they are cut, and that no hand inside an image is ever cut."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.evaluation import hand_boxes, hand_crops


def hand_at(x, y, width, height):
    """21 joints that fill a box."""
    corners = torch.tensor([[x, y], [x + width, y + height]])
    between = corners[0] + torch.rand(19, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [width, height]
    )
    return torch.cat([corners, between])


def test_square_with_a_margin_in_the_middle():
    boxes, inside = hand_boxes(hand_at(40.0, 50.0, 20.0, 12.0), 128, 128, margin=0.25)
    assert inside and boxes.tolist() == [35, 41, 65, 71]


@pytest.mark.parametrize("size", [(128, 128), (200, 96), (60, 150)])
def test_never_cuts_a_hand_that_lies_inside(size):
    generator = torch.Generator().manual_seed(1)
    limits = torch.tensor(size)
    joints = torch.rand(400, 2, 21, 2, generator=generator)
    low, span = torch.rand(2, 400, 2, 1, 2, generator=generator)
    joints = (low + joints * span * (1 - low)) * limits
    boxes, inside = hand_boxes(joints, *size)
    assert inside.all()
    assert (boxes[..., :2] >= 0).all() and (boxes[..., 2:] <= limits).all()
    assert (boxes[..., None, :2] <= joints + 0.5).all() and (boxes[..., None, 2:] >= joints - 0.5).all()
    sides = boxes[..., 2:] - boxes[..., :2]
    extent = (joints.amax(-2) - joints.amin(-2)).amax(-1)
    roomy = 1.5 * extent + 1 < min(size)
    assert (sides[roomy][:, 0] == sides[roomy][:, 1]).all() and roomy.any()


def test_at_the_edge_the_box_is_moved_not_shrunk():
    middle, _ = hand_boxes(hand_at(40.0, 40.0, 30.0, 30.0), 128, 128)
    edge, _ = hand_boxes(hand_at(98.0, 98.0, 30.0, 30.0), 128, 128)
    assert (edge[2] - edge[0]) == (middle[2] - middle[0]) and edge[2:].tolist() == [128, 128]


def test_hands_outside_have_no_crop():
    images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    joints = torch.stack([hand_at(4.0, 4.0, 8.0, 8.0), hand_at(200.0, 4.0, 8.0, 8.0)]).expand(2, 2, 21, 2)
    visible = torch.tensor([[True, True], [False, True]])
    crops, places = hand_crops(images, joints, visible, 16)
    assert crops.shape == (1, 16, 16, 3) and places.tolist() == [[0, 0]]


def test_crops_are_cut_from_the_right_place_and_antialiased():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:60, 30:70] = np.indices((40, 40)).sum(0)[..., None] % 2 * 255  # a checkerboard of single pixels
    joints = hand_at(30.0, 20.0, 40.0, 40.0).expand(1, 2, 21, 2)
    crops, _ = hand_crops(torch.tensor(image)[None], joints, torch.tensor([[True, False]]), 10, margin=0.0)
    assert crops.shape == (1, 10, 10, 3) and (crops.float() - 127.5).abs().max() < 25
    whole = Image.fromarray(image).crop((30, 20, 70, 60)).resize((10, 10), Image.Resampling.NEAREST)
    assert np.asarray(whole).std() == 0 and np.asarray(whole).mean() in (0, 255)  # what aliasing would look like


def test_bad_input():
    with pytest.raises(ValueError, match="`joints`"):
        hand_boxes(torch.zeros(20, 2), 10, 10)
    with pytest.raises(ValueError, match="`margin`"):
        hand_boxes(torch.zeros(21, 2), 10, 10, margin=-1)
    with pytest.raises(ValueError, match="`images`"):
        hand_crops(torch.zeros(1, 8, 8, 3), torch.zeros(1, 2, 21, 2), torch.ones(1, 2).bool(), 8)
