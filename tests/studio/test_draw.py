import dataclasses

import pytest
import torch

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels
from diffusers_handiffuser.hands.skeleton import OPENPOSE_HAND_NAMES, SIDES
from diffusers_handiffuser.rendering.rasterizer import rasterize
from diffusers_handiffuser.studio import SKIN_TONES, Scene, Studio, sample_scene
from diffusers_handiffuser.studio.scenes import COLORS, KINDS, LIGHTS, TEXTURES, pose_scenes
from diffusers_handiffuser.studio.skin import skin_tones

SIZE = 64


def scene(**changes) -> Scene:
    plain = dict(
        kind="close_up",
        gestures={"right": "open_hand"},
        views={"right": "back"},
        skin="tan",
        sleeve="bare",
        background="blue",
        texture="plain",
        light="front",
        seed=7,
    )
    return Scene(**{**plain, **changes})


@pytest.fixture(scope="module")
def studio():
    return Studio(size=SIZE)


@pytest.fixture(scope="module")
def mixed():
    """Every kind, several times, in no order."""
    return [sample_scene(0, "train", i, KINDS[(i * 7) % 3]) for i in range(9)]


@pytest.fixture(scope="module")
def drawn(studio, mixed):
    return studio.draw(mixed)


def silhouette(studio, scenes) -> torch.Tensor:
    """`(B, size, size)`: what is not background, found by drawing twice before different colours."""
    first, second = (
        studio.draw([Scene(**{**s.to_dict(), "background": color, "texture": "plain"}) for s in scenes])[0]
        for color in ("white", "black")
    )
    return (first - second).abs().amax(1) < 0.4


class TestImages:
    def test_shape_and_range(self, drawn, mixed):
        images, hand_params = drawn
        assert images.shape == (len(mixed), 3, SIZE, SIZE) and images.dtype == torch.float32
        assert torch.isfinite(images).all() and images.min() >= 0 and images.max() <= 1
        assert isinstance(hand_params, HandParams) and hand_params.batch_shape == (len(mixed),)

    def test_come_with_the_parameters_of_their_scenes(self, studio, drawn, mixed):
        expected = pose_scenes(mixed, studio.body_model)
        assert all(torch.equal(getattr(drawn[1], name), getattr(expected, name)) for name in HandParams.FIELDS)

    def test_same_scenes_same_bytes(self, studio, drawn, mixed):
        assert torch.equal(studio.draw(mixed)[0], drawn[0])

    def test_leave_the_global_random_state_alone(self, studio, mixed):
        before = torch.get_rng_state()
        studio.draw(mixed[:1])
        assert torch.equal(torch.get_rng_state(), before)

    def test_do_not_depend_on_what_stands_beside_them(self, studio, drawn, mixed):
        """Up to the rounding of other batch sizes, which may move the edge of a shape across a pixel's sample."""
        for i, s in enumerate(mixed):
            difference = (studio.draw([s])[0][0] - drawn[0][i]).abs()
            assert difference.mean() < 1e-4 and (difference.amax(0) > 0.02).float().mean() < 0.005

    def test_do_not_depend_on_the_order(self, studio, drawn, mixed):
        difference = (studio.draw(mixed[::-1])[0].flip(0) - drawn[0]).abs()
        assert difference.mean() < 1e-4

    def test_another_seed_is_another_image(self, studio):
        images, _ = studio.draw([scene(seed=1), scene(seed=2)])
        assert (images[0] - images[1]).abs().mean() > 0.01

    @pytest.mark.parametrize("texture", TEXTURES)
    @pytest.mark.parametrize("light", LIGHTS)
    def test_of_every_texture_and_light(self, studio, texture, light):
        images, _ = studio.draw([scene(texture=texture, light=light)])
        assert torch.isfinite(images).all() and images.std() > 0.05

    def test_no_scenes(self, studio):
        with pytest.raises(ValueError, match="`scenes` must hold at least one scene"):
            studio.draw([])

    @pytest.mark.parametrize("size", [15, 0, -4])
    def test_too_small_to_show_a_hand(self, size):
        with pytest.raises(ValueError, match=f"`size` must be at least 16 pixels, got {size}"):
            Studio(HandBodyModel(), size=size)

    def test_a_small_studio_draws_the_same_scene_smaller(self, studio):
        large, _ = studio.draw([scene()])
        small, _ = Studio(studio.body_model, size=32).draw([scene()])
        assert small.shape == (1, 3, 32, 32)
        assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.02


class TestCamera:
    """Images are drawn with `HandParams`' own camera."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_drawn_outline_is_that_of_the_projected_mesh(self, studio, kind):
        """A plain rasterisation of the whole mesh through `hands.camera`, against the studio's image."""
        scenes = [sample_scene(3, "train", i, kind) for i in range(4)]
        params = pose_scenes(scenes, studio.body_model)
        mesh = studio.body_model.full_mesh(params)
        points = square_to_pixels(project_weak_perspective(mesh.vertices, params.camera), SIZE, SIZE)
        fragments = rasterize(torch.cat([points, mesh.vertices[..., 2:]], -1), mesh.faces, SIZE, SIZE)
        whole = torch.isfinite(fragments.depth)
        found = silhouette(studio, scenes)
        # What a close-up leaves out of the body may be missing, but nothing else may be there.
        assert (found & ~_grown(whole)).sum() == 0
        hands = studio.body_model(params)
        near = _grown(_grown(found))  # a person's fingers are thinner than a pixel
        for i in range(len(scenes)):
            for hand in params.hand_visible[i].nonzero()[:, 0].tolist():
                tips = hands.joints_2d[
                    i, hand, [OPENPOSE_HAND_NAMES.index(f"{f}4") for f in ("thumb", "index", "pinky")]
                ]
                for x, y in square_to_pixels(tips, SIZE, SIZE).long().clamp(0, SIZE - 1).tolist():
                    assert near[i, y, x]

    @pytest.mark.parametrize("side", SIDES)
    def test_fingertips_end_where_they_project(self, studio, side):
        """The highest drawn pixel of a raised hand is the highest vertex, to a pixel."""
        scenes = [scene(gestures={side: "pointing"}, views={side: "palm"}, seed=seed) for seed in range(4)]
        params = pose_scenes(scenes, studio.body_model)
        vertices = studio.body_model(params)[f"{side}_vertices"]
        points = square_to_pixels(project_weak_perspective(vertices, params.camera), SIZE, SIZE)
        found = silhouette(studio, scenes)
        for i in range(len(scenes)):
            top, column = points[i, :, 1].min(), points[i, points[i, :, 1].argmin(), 0]
            rows, columns = found[i].nonzero().unbind(-1)
            assert abs(float(rows.min() - top)) < 1.0
            assert abs(float(columns[rows == rows.min()].float().mean() + 0.5 - column)) < 1.5

    def test_a_raised_right_hand_stands_on_the_left_of_a_person_who_faces_us(self, studio):
        person = {"kind": "person", "sleeve": "red"}
        left = scene(gestures={"left": "open_hand"}, views={"left": "palm"}, **person)
        right = scene(gestures={"right": "open_hand"}, views={"right": "palm"}, **person)
        _, params = studio.draw([left, right])
        joints = studio.body_model(params).joints_2d
        assert joints[0, 0, :, 0].mean() > 0.1 and joints[1, 1, :, 0].mean() < -0.1


def _grown(mask: torch.Tensor) -> torch.Tensor:
    """A mask `(B, H, W)` with its neighbours."""
    return torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] > 0


class TestColours:
    def test_backgrounds_of_images_are_the_named_colour(self, studio):
        scenes = [scene(background=name) for name in COLORS]
        images, _ = studio.draw(scenes)
        empty = ~_grown(silhouette(studio, scenes[:1]))[0]
        for image, color in zip(images, COLORS.values(), strict=True):
            assert (image[:, empty].mean(1) - torch.tensor(color)).abs().max() < 0.05

    @pytest.mark.parametrize(("view", "palm"), [("back", 0.0), ("palm", 0.75)])
    def test_skin_is_near_the_named_tone(self, studio, view, palm):
        """In plain light; three quarters of what is seen of an open hand from the palm's side are palm."""
        scenes = [scene(skin=skin, views={"right": view}, seed=seed) for skin in SKIN_TONES for seed in (1, 2)]
        images, _ = studio.draw(scenes)
        skin = silhouette(studio, scenes)
        means = torch.stack([image[:, mask].mean(1) for image, mask in zip(images, skin, strict=True)])
        means = means.view(len(SKIN_TONES), 2, 3).mean(1)
        named = skin_tones(torch.tensor(palm))
        assert (means - named).abs().max() < 0.07
        brightness = means.mean(1)
        assert (torch.argsort(brightness) == torch.argsort(named.mean(1))).all(), "tones keep their order"

    def test_sleeves_are_the_named_colour(self, studio):
        """The lowest part of a close-up is the forearm."""
        names = ["red", "green", "blue"]
        images, _ = studio.draw([scene(sleeve=name, background="white", seed=3) for name in names])
        bare, _ = studio.draw([scene(background="white", seed=3)])
        forearm = ((images[0] - bare[0]).abs().amax(0) > 0.2) & ((images[1] - bare[0]).abs().amax(0) > 0.2)
        assert forearm[: SIZE // 2].sum() == 0 and forearm.sum() > 20
        for channel, image in enumerate(images):
            assert image[:, forearm].mean(1).argmax() == channel

    def test_a_person_wears_the_named_shirt(self, studio):
        person = {"kind": "person", "background": "white"}
        images, _ = studio.draw([scene(sleeve=name, **person) for name in ("red", "green", "blue")])
        for channel, image in enumerate(images):
            chest = image[:, 3 * SIZE // 4 :, 3 * SIZE // 8 : 5 * SIZE // 8].mean((1, 2))
            assert chest.argmax() == channel

    def test_light_comes_from_the_named_side(self, studio):
        scenes = [scene(light=light, gestures={"right": "fist"}, seed=5) for light in LIGHTS]
        images, _ = studio.draw(scenes)
        mask = silhouette(studio, scenes[:1])[0]
        left = mask & (mask.long().cumsum(1) < mask.sum(1, keepdim=True) / 2)
        right = mask & ~left
        balance = {
            light: float(image[:, left].mean() - image[:, right].mean())
            for light, image in zip(LIGHTS, images, strict=True)
        }
        assert balance["left"] > balance["front"] + 0.03 > balance["right"] + 0.06


class TestWithoutHands:
    def test_an_empty_scene_is_its_background(self, studio):
        plain = dict(kind="empty", gestures={}, views={}, sleeve="red", texture="plain")
        images, hand_params = studio.draw([scene(**plain, background=color) for color in COLORS])
        for image, color in zip(images, COLORS.values(), strict=True):
            assert (image - torch.tensor(color)[:, None, None]).abs().max() < 0.12
        assert not hand_params.hand_visible.any()

    def test_empty_scenes_draw_the_same_beside_others(self, studio, mixed):
        empty = [sample_scene(0, "train", i, "empty") for i in range(2)]
        together, _ = studio.draw([empty[0], *mixed[:2], empty[1]])
        assert torch.equal(together[[0, 3]], studio.draw(empty)[0])

    def test_a_person_shows_shirt_and_face_and_no_hand(self, studio):
        """What the full body would show of its hands is nowhere in the image."""
        people = [sample_scene(0, "train", i, "hands_hidden") for i in range(8)]
        images, hand_params = studio.draw(people)
        paper, _ = studio.draw([dataclasses.replace(person, kind="empty") for person in people])
        covered = ((images - paper).abs().amax(1) > 0.05).float().mean((1, 2))
        assert (covered > 0.15).all() and (covered < 0.9).all()
        geometry = studio.body_model(hand_params)
        for name in ("left_vertices", "right_vertices"):
            low = hand_params.camera[:, None, 0] * (getattr(geometry, name)[..., 1] + hand_params.camera[:, None, 2])
            assert low.min() > 1.1
