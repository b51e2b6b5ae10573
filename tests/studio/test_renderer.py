import pytest
import torch

from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.renderer import draw_background, render
from diffusers_handiffuser.studio.scenes import COLORS, KINDS, TEXTURES, pose_scenes

SIZE = 64


@pytest.fixture(scope="module")
def body():
    return HandBodyModel.procedural()


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_joints_meet_projected_joints_within_half_a_pixel(body, kind):
    """Small octahedra stand in for the joints; each is drawn by the studio's renderer in an image of its own."""
    size = 128
    params = pose_scenes([sample_scene(0, "train", 1, kind)], body)
    geometry = body(params)
    centres = geometry.joints_3d.flatten(0, 2)[:, None]
    arms = torch.cat([torch.eye(3), -torch.eye(3)])
    radius = 2.5 / (float(params.camera[0, 0]) * size / 2)
    sides = [(i, j, k) if (i < 3) ^ (j < 4) ^ (k < 5) else (i, k, j) for i in (0, 3) for j in (1, 4) for k in (2, 5)]
    markers = centres + radius * arms
    count = len(markers)
    _, coverage = render(
        markers,
        torch.tensor(sides),
        params.camera.expand(count, 3),
        size,
        lambda seen: torch.ones(len(seen.pixel), 3),
        torch.tensor([[0.0, 0.0, -1.0]]).expand(count, 3),
        torch.zeros(count, 3, size, size),
    )
    expected = square_to_pixels(geometry.joints_2d.flatten(0, 2), size, size)
    whole = ((expected > 4) & (expected < size - 4)).all(-1)
    assert whole.sum() >= 15
    axis = torch.arange(size) + 0.5
    mass = coverage[:, 0].sum((1, 2))
    found = torch.stack([coverage[:, 0].sum(1) @ axis, coverage[:, 0].sum(2) @ axis], -1) / mass[:, None]
    assert (found - expected)[whole].abs().max() < 0.5


@pytest.mark.parametrize("texture", TEXTURES)
def test_backgrounds_stay_near_their_colour(texture):
    for seed, (name, color) in enumerate(COLORS.items()):
        paper = draw_background(torch.tensor(color), texture, SIZE, torch.Generator().manual_seed(seed))
        assert paper.shape == (3, SIZE, SIZE) and paper.min() >= 0 and paper.max() <= 1, name
        error = (paper.mean((1, 2)) - torch.tensor(color)).abs().max()
        assert error < (0.02 if texture in ("plain", "blurry") else 0.12), name


@pytest.mark.parametrize("texture", [texture for texture in TEXTURES if texture != "plain"])
def test_textures_show(texture):
    color = torch.tensor(COLORS["green"])
    paper = draw_background(color, texture, SIZE, torch.Generator().manual_seed(0))
    assert paper.std((1, 2)).min() > 0.01


def test_unknown_textures_are_named():
    with pytest.raises(ValueError, match="`texture` must be plain, .* got 'noisy'"):
        draw_background(torch.zeros(3), "noisy", SIZE, torch.Generator())
