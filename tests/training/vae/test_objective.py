"""The autoencoder's reconstruction loss."""

import pytest
import torch

from diffusers_handiffuser.training.vae.objective import pyramid_l1


def test_pyramid_sees_edges_that_l1_does_not():
    shift = torch.full((1, 3, 16, 16), 0.1)
    edges = 0.1 * torch.ones(16)
    edges[::2] *= -1
    edges = edges.expand(1, 3, 16, 16)
    flat = torch.zeros(1, 3, 16, 16)
    assert pyramid_l1(flat, flat).item() == 0
    assert pyramid_l1(shift, flat).item() == pytest.approx(0.1)
    assert pyramid_l1(edges, flat).item() == pytest.approx(0.2)
