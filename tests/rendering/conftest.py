"""Hands to draw."""

import pytest
import torch

from diffusers_handiffuser import HandParams


@pytest.fixture(scope="module")
def rows():
    """Ten rows: the right hand, the left hand, and so on, seen by a camera that has both in the picture."""
    visible = torch.tensor([[False, True], [True, False]] * 5)
    facing = torch.tensor([[torch.pi, 0.0, 0.0]] * 10)
    camera = torch.tensor([[1.1, 0.0, 0.2]] * 10)
    return HandParams.zeros(10).replace(hand_visible=visible, global_orient=facing, camera=camera)
