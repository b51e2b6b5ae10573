"""Hands to draw."""

import pytest
import torch

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body


@pytest.fixture(scope="module")
def rows():
    """Ten rows: the right hand, the left hand, and so on, seen by a camera that has both in the picture."""
    visible = torch.tensor([[False, True], [True, False]] * 5)
    facing = torch.tensor([[torch.pi, 0.0, 0.0]] * 10)
    camera = torch.tensor([[1.1, 0.0, 0.2]] * 10)
    return HandParams.zeros(10).replace(hand_visible=visible, global_orient=facing, camera=camera)


@pytest.fixture(scope="module")
def body():
    return procedural_body()


@pytest.fixture(scope="module")
def person():
    """Waist-up from the front, arms out: both hands visible, hips and legs below the image."""
    return HandParams.zeros().replace(
        global_orient=torch.tensor([torch.pi, 0.0, 0.0]),
        camera=torch.tensor([1.1, 0.0, 0.6]),
        hand_visible=torch.tensor([True, True]),
    )


@pytest.fixture(scope="module")
def close_up(body):
    """The right hand alone, seen from above (its back to the camera), fingers spread across the image."""
    hands = HandParams.zeros().replace(
        global_orient=torch.tensor([torch.pi / 2, 0.0, 0.0]), hand_visible=torch.tensor([False, True])
    )
    middle = body(hands).joints_3d[1].mean(0)
    return hands.replace(camera=torch.tensor([7.0, -float(middle[0]), -float(middle[1])]))
