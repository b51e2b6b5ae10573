import numpy as np
import pytest
import torch

from diffusers_handiffuser.repair.blending import matched_colors, paste, soft_mask
from diffusers_handiffuser.repair.squares import Square


def disc(size=100, radius=30):
    axis = torch.arange(size) - size / 2
    return axis[:, None] ** 2 + axis[None] ** 2 < radius**2


def test_a_soft_mask_rises_inside_of_the_mask():
    mask = disc()
    weights = soft_mask(mask)
    assert not weights[~mask.numpy()].any() and weights[50, 50] == 255
    row = weights[50, 50:].astype(int)
    assert (np.diff(row) <= 0).all() and 3 < ((row > 0) & (row < 255)).sum() < 12
    assert soft_mask(torch.ones(20, 20, dtype=torch.bool)).min() == 255, "an image's edge is no seam"
    assert not soft_mask(torch.zeros(20, 20, dtype=torch.bool)).any()


@pytest.mark.parametrize("painted_around", [False, True])
def test_colour_and_light_are_matched_at_the_seam(painted_around):
    rng, mask, axis = np.random.default_rng(0), disc(), np.linspace(-1, 1, 100)
    original = (120 + rng.normal(0, 3, (100, 100, 3)) + 20 * axis[:, None, None]).round().astype(np.uint8)
    inside = disc(radius=15).numpy()
    true = original.astype(float)
    true[inside] += 60  # what was drawn anew, whose contrast must stay
    cast = true + np.array([25.0, -10.0, 0.0]) - 15 * axis[None, :, None]
    drawn = cast.round().clip(0, 255).astype(np.uint8)
    if not painted_around:
        drawn[~mask.numpy()] = original[~mask.numpy()]
    matched = matched_colors(drawn, original, mask)
    error = np.abs(matched - true)[mask.numpy()].mean()
    assert error < 2 < np.abs(drawn - true)[mask.numpy()].mean()


def test_a_perfect_drawing_is_not_changed_and_a_mismatch_is_bounded():
    rng, mask = np.random.default_rng(1), disc()
    original = rng.integers(0, 256, (100, 100, 3)).astype(np.uint8)
    drawn = original.copy()
    drawn[disc(radius=20).numpy()] = 255
    assert np.abs(matched_colors(drawn, original, mask) - drawn).max() < 1e-3
    black = np.zeros_like(original)
    assert matched_colors(black, np.full_like(original, 255), mask).max() <= 48


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("left", "top"), [(5, 3), (-8, -6), (32, 25)])
def test_not_a_bit_changes_where_the_weight_is_0(channels, left, top):
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (45, 52, channels)).astype(np.uint8)
    before = image.copy()
    square, mask = Square(left, top, 28, (52, 45)), disc(28, 10)
    weights = soft_mask(mask)
    paste(image, np.full((28, 28, 3), 255.0), weights, square)
    full = np.zeros((45, 52), np.uint8)
    full[square.inside] = weights[square.inside_of_square]
    assert full.any() and np.array_equal(image[full == 0], before[full == 0])
    assert (image[full == 255][:, :3] == 255).all()
    assert np.array_equal(image[..., 3:], before[..., 3:])
