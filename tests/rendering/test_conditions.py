"""Pictures for ControlNets, held against geometry that is known without drawing."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES, OPENPOSE_HAND_EDGES
from diffusers_handiffuser.rendering import surfaces
from diffusers_handiffuser.rendering.keypoints import LIMBS
from diffusers_handiffuser.rendering.skeletons import BODY_COLORS, SCALED_HAND_EDGE_COLORS

KINDS = ("openpose", "depth", "depth_hand", "normal", "mask")


def pixels(points, camera, height, width):
    return square_to_pixels(project_weak_perspective(points, camera), height, width)


def at(picture: Image.Image, point) -> tuple:
    return picture.getpixel((int(point[0]), int(point[1])))


class TestToCondition:
    @pytest.mark.parametrize("kind", KINDS)
    def test_one_row_is_a_picture_and_several_are_a_list(self, close_up, kind):
        alone = close_up.to_condition(kind, 24)
        assert alone.size == (24, 24) and alone.mode == ("L" if kind == "mask" else "RGB")
        rows = close_up.reshape(1).repeat_interleave(2)
        pair = rows.to_condition(kind, (40, 24))
        assert [picture.size for picture in pair] == [(40, 24)] * 2
        assert np.array_equal(np.asarray(pair[0]), np.asarray(pair[1]))

    @pytest.mark.parametrize("kind", KINDS)
    def test_wide_picture_is_the_square_with_margins(self, close_up, kind):
        square, wide = close_up.to_condition(kind, 32), close_up.to_condition(kind, (64, 32))
        different = np.abs(np.asarray(square).astype(int) - np.asarray(wide)[:, 16:48]) > 2
        assert different.mean() < 0.02, "but for rounding at edges, and points that are in the margins"

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_visible_hand(self, kind):
        hidden = HandParams.zeros().replace(camera=torch.tensor([9.0, 9.0, 9.0]))
        with pytest.warns(UserWarning, match="No hand is visible: the condition shows none"):
            drawn = np.asarray(hidden.to_condition(kind, 16))
        assert (drawn.reshape(256, -1) == ([128, 128, 255] if kind == "normal" else 0)).all()

    def test_rows_without_a_hand_are_counted(self, close_up):
        rows = close_up.reshape(1).repeat_interleave(3)
        rows = rows.replace(hand_visible=torch.tensor([[True, False], [False, False], [False, True]]))
        with pytest.warns(UserWarning, match="No hand is visible in 1 of 3 images"):
            rows.to_condition("openpose", 16)

    @pytest.mark.parametrize("kind", KINDS)
    def test_hands_outside_are_named(self, close_up, kind):
        away = close_up.replace(camera=close_up.camera + torch.tensor([0.0, 9.0, 0.0]))
        rows = HandParams.cat([away.reshape(1), close_up.reshape(1)])
        with pytest.warns(UserWarning, match="The condition is empty in 1 of 2 images: nothing that it shows"):
            rows.to_condition(kind, 16)

    def test_a_hand_that_fills_the_image_is_no_empty_one(self, close_up):
        scale, centre = close_up.camera.split([1, 2])
        palm = close_up.reshape(1).to_condition("mask", 64)[0]
        rows, columns = np.asarray(palm).nonzero()
        shift = (32 - torch.tensor([np.median(columns), np.median(rows)])) / 32
        near = close_up.replace(camera=torch.cat([40 * scale, centre + shift / scale]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mask = near.to_condition("mask", 8)
        assert mask.getextrema() == (255, 255)

    def test_given_body(self, close_up, body):
        assert close_up.to_condition("mask", 24, body).tobytes() == close_up.to_condition("mask", 24).tobytes()

    @pytest.mark.parametrize(
        "arguments, words",
        [
            (("canny", 64), "`kind` must be one of openpose, depth, depth_hand, normal, mask, got 'canny'"),
            (("depth", 0), "`size`.*0 x 0"),
            (("depth", (64, 1.5)), "`size`.*64 x 1.5"),
            (("openpose", "big"), "`size`"),
            (("openpose", (64, 16385)), "`size` must be at most 16384 pixels per side, got 64 x 16385"),
        ],
    )
    def test_bad_arguments(self, close_up, arguments, words):
        with pytest.raises(ValueError, match=words):
            close_up.to_condition(*arguments)

    @pytest.mark.parametrize(
        "kind, options, words",
        [
            ("openpose", {"style": "thick"}, "`style` must be one of dwpose, xinsir, scaled, got 'thick'"),
            ("depth", {"style": None}, "`style` must be one of dwpose, xinsir, scaled, got None"),
            ("openpose", {"parts": ("hands", "feet")}, "must be among body, hands, face, got 'feet'"),
            (
                "mask",
                {"parts": "face"},
                "`parts` of an image of kind 'mask' must be among hands, forearms, body.*'face'",
            ),
            ("openpose", {"parts": ()}, "must be among body, hands, face, got none"),
        ],
    )
    def test_bad_style_and_parts(self, close_up, kind, options, words):
        with pytest.raises(ValueError, match=words):
            close_up.to_condition(kind, 16, **options)

    def test_parts_are_a_sequence(self, close_up):
        with pytest.raises(TypeError, match="`parts` must be a sequence of str, got int"):
            close_up.to_condition("openpose", 16, parts=3)

    def test_people_share_an_image(self, close_up):
        """All rows of the last batch axis are drawn; the axes before it are a list of images."""
        moved = close_up.replace(camera=close_up.camera + torch.tensor([0.0, 0.05, 0.0]))
        pair = HandParams.cat([close_up.reshape(1), moved.reshape(1)])
        alone, other = (np.asarray(image) for image in pair.to_condition("openpose", 64, style="scaled"))
        together = pair.to_condition("openpose", 64, style="scaled", people=True)
        assert isinstance(together, Image.Image)
        lit = np.asarray(together).any(-1)
        assert (lit == (alone.any(-1) | other.any(-1))).all() and (alone.any(-1) != other.any(-1)).any()
        rows = HandParams.cat([pair.reshape(1, 2)] * 2).to_condition("openpose", 64, style="scaled", people=True)
        assert [image.tobytes() for image in rows] == [together.tobytes()] * 2
        with pytest.warns(UserWarning, match="No hand is visible"):
            nobody = pair[:0].to_condition("openpose", 64, people=True)
        assert not np.asarray(nobody).any()


class TestScaledOpenpose:
    def test_hues_go_round(self):
        assert SCALED_HAND_EDGE_COLORS[0] == (255, 0, 0) and SCALED_HAND_EDGE_COLORS[10] == (0, 255, 255)
        assert SCALED_HAND_EDGE_COLORS[5] == (127, 255, 0) and len(set(SCALED_HAND_EDGE_COLORS)) == 20

    def test_points_are_blue_and_bones_have_their_hue(self, close_up, body):
        picture = close_up.to_condition("openpose", 512, style="scaled")
        points = pixels(body(close_up).joints_3d[1], close_up.camera, 512, 512)
        assert ((points > 8) & (points < 504)).all(), "the hand lies in the picture"
        assert [at(picture, point) for point in points] == [(0, 0, 255)] * 21
        middles = [(points[a] + points[b]) / 2 for a, b in OPENPOSE_HAND_EDGES]
        clear = [bool((torch.cdist(m[None], points) > 6).all()) for m in middles]
        for middle, color, alone in zip(middles, SCALED_HAND_EDGE_COLORS, clear, strict=True):
            near = {at(picture, middle + torch.tensor([dx, dy])) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
            assert color in near or not alone
        assert sum(clear) >= 12

    def test_point_size_follows_the_picture(self, close_up, body):
        """Discs of radius 4 in 512 pixels: the wrist stands alone, so its disc can be counted along a row."""
        for size in (256, 512, 1024):
            picture = np.asarray(close_up.to_condition("openpose", size, style="scaled"))
            x, y = pixels(body(close_up).joints_3d[1, :1], close_up.camera, size, size)[0].int().tolist()
            blue = (picture[:, x] == [0, 0, 255]).all(-1)
            run = blue[y - size // 40 : y + size // 40].sum()
            assert abs(run - size / 64) <= 2

    def test_body_in_cocos_order(self, person, body):
        """The neck between the shoulders, then arms; the wearer's right side is on the picture's left."""
        picture = person.to_condition("openpose", 512, style="scaled")
        joints = dict(zip(JOINT_NAMES, pixels(body.full_mesh(person).joints, person.camera, 512, 512), strict=True))
        neck = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
        assert at(picture, neck) == (255, 85, 0)
        for name, color in {
            "right_shoulder": (255, 170, 0),
            "right_elbow": (255, 255, 0),
            "left_shoulder": (85, 255, 0),
            "left_elbow": (0, 255, 0),
        }.items():
            assert at(picture, joints[name]) == color
        upper_arm = (joints["right_shoulder"] + joints["right_elbow"]) / 2
        assert joints["right_elbow"][0] < joints["left_elbow"][0]
        assert at(picture, upper_arm) == tuple(int(0.6 * channel) for channel in BODY_COLORS[2]) == (153, 102, 0)
        assert LIMBS[2] == (2, 3)

    def test_points_outside_are_missing_with_their_bones(self, person, body):
        """Knees lie below this picture, so nothing has a thigh's colour."""
        joints = pixels(body.full_mesh(person).joints, person.camera, 512, 512)
        assert joints[JOINT_NAMES.index("left_knee"), 1] > 512
        colors = {color for _, color in person.to_condition("openpose", 512, style="scaled").getcolors(512 * 512)}
        assert tuple(int(0.6 * channel) for channel in BODY_COLORS[10]) not in colors
        assert BODY_COLORS[3] in colors

    def test_body_points_without_a_bone_are_left_out(self, close_up, body):
        """The wrist is in the picture, the elbow is not."""
        colors = {color for _, color in close_up.to_condition("openpose", 512, style="scaled").getcolors(512 * 512)}
        assert colors == {(0, 0, 0), (0, 0, 255), *SCALED_HAND_EDGE_COLORS}

    def test_hidden_hand_is_not_drawn(self, person):
        hidden = person.replace(hand_visible=torch.tensor([True, False])).to_condition("openpose", 512, style="scaled")
        both = person.to_condition("openpose", 512, style="scaled")
        blue = (np.asarray(both) == [0, 0, 255]).all(-1), (np.asarray(hidden) == [0, 0, 255]).all(-1)
        assert blue[0][:, :256].sum() > 100 and blue[1][:, :256].sum() == 0
        assert blue[0][:, 256:].sum() == blue[1][:, 256:].sum() > 100


def test_people_are_a_yes_or_no(close_up):
    with pytest.raises(TypeError, match="`people` must be True or False, got 'no'"):
        close_up.to_condition("openpose", 16, people="no")


class TestHandsBehindTheBody:
    """Arms stretched to both sides, the body turned so that one points at the viewer and the other away."""

    @pytest.fixture
    def arms(self):
        sideways = HandParams.zeros(2).replace(
            global_orient=torch.tensor([[0.0, np.pi / 2, 0.0]] * 2), camera=torch.tensor([[0.9, 0.0, 0.0]] * 2)
        )
        return sideways.replace(hand_visible=torch.tensor([[True, False], [False, True]]))

    @pytest.mark.parametrize("kind", ["depth", "normal"])
    def test_the_body_that_hides_one_is_said(self, arms, kind):
        with pytest.warns(UserWarning, match=r"The body hides up to \d+% of the visible hands in 1 of 2 rows"):
            arms.to_condition(kind, 48, parts=("hands", "body"))

    def test_the_hand_in_front_is_not_hidden(self, arms):
        said = []
        for row in (arms[0], arms[1]):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                row.to_condition("depth", 48, parts=("hands", "body"))
            said.append(len(caught))
        assert sorted(said) == [0, 1]

    def test_without_the_body_nothing_is_said(self, arms, recwarn):
        arms.to_condition("depth", 48, parts=("hands", "forearms"))
        assert len(recwarn) == 0

    def test_an_image_of_one_line_is_not_enlarged(self, arms, monkeypatch):
        seen = []
        rasterize = surfaces.rasterize_exactly
        monkeypatch.setattr(surfaces, "rasterize_exactly", lambda *given: seen.append(given[2:]) or rasterize(*given))
        with pytest.warns(UserWarning):
            arms[0].to_condition("depth", (3000, 1), parts=("hands", "body"))
        assert seen == [(1, 3000)] * 3
