import math

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.hands.skeleton import LEFT_WRIST, RIGHT_WRIST
from diffusers_handiffuser.rendering.drawing import (
    FINGER_COLORS,
    draw_hand_mesh,
    draw_overlay,
    draw_preview,
    draw_skeleton,
)
from diffusers_handiffuser.rendering.meshes import HAND_COLORS

PAPER = np.array([240, 240, 242])


@pytest.fixture(scope="module")
def body():
    return HandBodyModel.procedural()


@pytest.fixture(scope="module")
def hands(body):
    """Four rows of a person who faces the camera, arms out, palms forward: both hands, the left, the right, none. The
    camera fits both hands of rows 0 and 3, and one hand of the others."""
    rows = HandParams.zeros(4)
    pose = rows.full_pose
    pose[:, 0, 0] = math.pi
    pose[:, [LEFT_WRIST, RIGHT_WRIST], 0] = -math.pi / 2
    rows = rows.replace(
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:22].flatten(1),
        hand_visible=torch.tensor([[True, True], [True, False], [False, True], [False, False]]),
    )
    joints = body(rows).joints_3d[..., :2]
    camera = []
    for row, shown in enumerate(([0, 1], [0], [1], [0, 1])):
        points = joints[row, shown].flatten(0, 1)
        low, high = points.amin(0), points.amax(0)
        centre = (low + high) / 2
        camera.append([1.7 / (high - low).max(), -centre[0], -centre[1]])
    return rows.replace(camera=torch.tensor(camera))


def pixels(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def inked(image) -> np.ndarray:
    return (abs(pixels(image) - PAPER) > 3).any(-1)


class TestMesh:
    @pytest.mark.parametrize(("height", "width"), [(32, None), (24, 40), (40, 24), (1, 1)])
    def test_sizes(self, body, hands, height, width):
        pictures = draw_hand_mesh(hands, body, height, width)
        assert [picture.size for picture in pictures] == [(width or height, height)] * 4
        assert all(picture.mode == "RGB" for picture in pictures)

    @pytest.mark.parametrize(("shape", "count"), [((), 1), ((1,), 1), ((2, 2), 4), ((0,), 0)])
    def test_any_batch_shape(self, body, hands, shape, count):
        assert len(draw_hand_mesh(hands[:count].reshape(*shape), body, 16)) == count

    def test_absent_hands_leave_empty_paper(self, body, hands):
        picture = draw_hand_mesh(hands[3], body, 32)[0]
        assert not inked(picture).any()

    def test_visible_hands_cover_their_joints_and_nothing_far_from_them(self, body, hands):
        joints = square_to_pixels(body(hands).joints_2d, 96, 96)
        for row, picture in enumerate(draw_hand_mesh(hands, body, 96)):
            ink = inked(picture)
            shown = joints[row][hands.hand_visible[row]]
            for x, y in shown.flatten(0, 1).tolist():
                around = ink[max(0, int(y) - 1) : int(y) + 3, max(0, int(x) - 1) : int(x) + 3]
                assert around.any(), (row, x, y)
            assert ink.any() == (row != 3)
            if ink.any():
                places = torch.from_numpy(np.argwhere(ink)).flip(-1) + 0.5
                assert torch.cdist(places.float(), shown.flatten(0, 1)).amin(1).max() < 24

    def test_each_hand_has_its_colour(self, body, hands):
        left, right = (draw_hand_mesh(hands[row], body, 48)[0] for row in (1, 2))
        for picture, side in ((left, "left"), (right, "right")):
            color = pixels(picture)[inked(picture)].mean(0)
            color = color / color.sum()
            wanted = np.array(HAND_COLORS[side]) / sum(HAND_COLORS[side])
            assert abs(color - wanted).max() < 0.02

    def test_the_picture_keeps_its_aspect(self, body, hands):
        square = inked(draw_hand_mesh(hands[1], body, 48)[0])
        wide = inked(draw_hand_mesh(hands[1], body, 48, 96)[0])
        assert (square == wide[:, 24:72]).all() and not wide[:, :20].any()

    def test_rows_do_not_depend_on_their_neighbours(self, body, hands):
        together = draw_hand_mesh(hands, body, 32)
        for row in range(4):
            difference = abs(pixels(draw_hand_mesh(hands[row], body, 32)[0]) - pixels(together[row]))
            assert difference.max() <= 2

    @pytest.mark.parametrize("size", [(0, 8), (8, 0), (-1, 8)])
    def test_refuses_empty_pictures(self, body, hands, size):
        with pytest.raises(ValueError, match="`height` and `width` must be at least 1 pixel, got"):
            draw_hand_mesh(hands, body, *size)


class TestSkeleton:
    @pytest.mark.parametrize("size", [(128, 128), (200, 120), (120, 200)])
    def test_ink_lies_where_the_joints_project(self, body, hands, size):
        joints_2d = body(hands[[1]]).joints_2d[0]
        drawn = pixels(draw_skeleton(Image.new("RGB", size), joints_2d, hands.hand_visible[1]))
        joints = square_to_pixels(joints_2d[0], size[1], size[0])
        for joint, (x, y) in enumerate(joints.tolist()):
            color = drawn[int(y), int(x)].tolist()
            assert color == ([255, 255, 255] if joint == 0 else list(FINGER_COLORS[(joint - 1) // 4]))
        far = [
            (x, y)
            for y, x in np.argwhere(drawn.any(-1))
            if (joints - torch.tensor([x + 0.5, y + 0.5])).norm(dim=-1).min() > 0.3 * min(size)
        ]
        assert not far

    def test_bones_run_straight_between_joints(self, body, hands):
        joints_2d = body(hands[[1]]).joints_2d[0]
        drawn = pixels(draw_skeleton(Image.new("RGB", (256, 256)), joints_2d, hands.hand_visible[1]))
        joints = square_to_pixels(joints_2d[0], 256, 256)
        for finger in range(5):
            start, end = 1 + 4 * finger, 2 + 4 * finger
            x, y = ((joints[start] + joints[end]) / 2).int().tolist()
            around = drawn[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).tolist()
            assert list(FINGER_COLORS[finger]) in around

    def test_absent_hands_are_not_drawn(self, body, hands):
        joints_2d = body(hands).joints_2d
        empty = draw_skeleton(Image.new("RGB", (64, 64)), joints_2d[0], torch.tensor([False, False]))
        assert not pixels(empty).any()
        left, right, both = (
            pixels(draw_skeleton(Image.new("RGB", (64, 64)), joints_2d[0], torch.tensor(visible))).any(-1)
            for visible in ([True, False], [False, True], [True, True])
        )
        assert (left | right == both).all() and not (left & right).any() and left.any() and right.any()

    def test_the_wrist_is_a_disc_on_the_left_and_a_square_on_the_right(self, body, hands):
        joints_2d = body(hands).joints_2d
        areas = []
        for row, hand in ((1, 0), (2, 1)):
            drawn = pixels(draw_skeleton(Image.new("RGB", (640, 640)), joints_2d[row], hands.hand_visible[row]))
            x, y = square_to_pixels(joints_2d[row, hand, 0], 640, 640).round().int().tolist()
            white = (drawn[y - 20 : y + 20, x - 20 : x + 20] == 255).all(-1)
            areas.append(white.sum())
            centre = np.argwhere(white).mean(0) + 0.5 - 20
            assert abs(centre).max() < 1.1, "joints are placed to within rounding"
        assert areas[0] / areas[1] == pytest.approx(math.pi / 4, abs=0.1)

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "RGB"])
    def test_the_picture_is_copied(self, body, hands, mode):
        image = Image.new(mode, (32, 32))
        before = image.tobytes()
        drawn = draw_skeleton(image, body(hands).joints_2d[0], hands.hand_visible[0])
        assert drawn.mode == "RGB" and drawn.size == (32, 32)
        assert image.tobytes() == before and image.mode == mode

    def test_phone_photos_are_turned_upright(self, body, hands):
        photo = Image.new("RGB", (48, 24), "red")
        photo.paste("blue", (0, 0, 24, 24))
        photo.getexif()[ExifTags.Base.Orientation] = 6
        photo.info["exif"] = photo.getexif().tobytes()
        drawn = draw_skeleton(photo, body(hands).joints_2d[0], torch.tensor([False, False]))
        assert drawn.size == (24, 48) and drawn.getpixel((0, 0)) == (0, 0, 255)
        preview = draw_preview(photo, hands[0], body, size=48)
        assert preview.size == (3 * 24, 48) and preview.getpixel((0, 0)) == (0, 0, 255)

    def test_joints_outside_the_picture_do_no_harm(self, body, hands):
        far = hands[0].replace(camera=torch.tensor([5000.0, 3.0, -2.0]))
        drawn = draw_skeleton(Image.new("RGB", (32, 32)), body(far).joints_2d, torch.tensor([True, True]))
        assert drawn.size == (32, 32)

    def test_joints_of_several_rows_are_refused(self, body, hands):
        with pytest.raises(ValueError, match=r"`joints_2d` must be of one row.*got \(4, 2, 21, 2\)"):
            draw_skeleton(Image.new("RGB", (32, 32)), body(hands).joints_2d, hands.hand_visible[0])

    @pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 2)])
    def test_wrong_visibility_is_named(self, body, hands, shape):
        with pytest.raises(ValueError, match=r"`hand_visible` must have shape \(2,\), got"):
            draw_skeleton(Image.new("RGB", (32, 32)), body(hands[0]).joints_2d, torch.ones(shape, dtype=torch.bool))


class TestPreview:
    def test_is_picture_mesh_and_skeleton_side_by_side(self, body, hands):
        images = [Image.new("RGB", (48, 48), color) for color in ("red", "green")]
        preview = draw_preview(images, hands[:2], body, size=48)
        assert preview.size == (144, 96)
        for row, image in enumerate(images):
            line = preview.crop((0, 48 * row, 144, 48 * row + 48))
            assert (pixels(line.crop((0, 0, 48, 48))) == pixels(image)).all()
            mesh = draw_hand_mesh(hands[row], body, 48)[0]
            assert (pixels(line.crop((48, 0, 96, 48))) == pixels(mesh)).all()
            skeleton = draw_skeleton(image, body(hands).joints_2d[row], hands.hand_visible[row])
            assert (pixels(line.crop((96, 0, 144, 48))) == pixels(skeleton)).all()

    def test_of_one_picture_alone(self, body, hands):
        assert draw_preview(Image.new("L", (20, 20)), hands[1], body, size=32).size == (96, 32)

    def test_pictures_keep_their_aspect_and_lines_may_differ_in_width(self, body, hands):
        images = [Image.new("RGB", (20, 40), "white"), Image.new("RGB", (80, 40), "white")]
        for order in (images, images[::-1]):
            assert draw_preview(order, hands[:2], body, size=40).size == (240, 80)

    def test_the_joints_of_a_wide_picture_stay_in_place(self, body, hands):
        preview = pixels(draw_preview(Image.new("RGB", (80, 40)), hands[1], body, size=40))
        ink = preview[:, 160:].any(-1)
        assert ink.any() and not ink[:, :18].any() and not ink[:, -18:].any()

    def test_as_many_pictures_as_rows(self, body, hands):
        with pytest.raises(ValueError, match=r"`images` must be as many as `hand_params` has rows \(2\), got 1"):
            draw_preview(Image.new("RGB", (8, 8)), hands[:2], body)
        with pytest.raises(ValueError, match="`images` must hold at least one image"):
            draw_preview([], hands[:0], body)

    def test_refuses_empty_lines(self, body, hands):
        with pytest.raises(ValueError, match="must be at least 1 pixel, got 0"):
            draw_preview(Image.new("RGB", (8, 8)), hands[0], body, size=0)


class TestOverlay:
    def test_opaque_hands_on_paper_are_those_of_the_mesh_image(self, body, hands):
        paper = Image.new("RGB", (60, 40), tuple(PAPER.tolist()))
        for row, mesh in enumerate(draw_hand_mesh(hands, body, 40, 60)):
            assert abs(pixels(draw_overlay(paper, hands[row], body, opacity=1.0)) - pixels(mesh)).max() <= 1

    def test_hands_are_blended_and_the_rest_of_the_image_is_kept(self, body, hands):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8))
        away = hands[:3].replace(camera=hands.camera[:3] + torch.tensor([0.0, 0.5, 0.5]))  # partly out of the image
        drawn = pixels(draw_overlay(noise, away, body))
        shown = np.any([inked(mesh) for mesh in draw_hand_mesh(away, body, 40, 60)], axis=0)
        assert 0 < shown.mean() < 0.9 and np.array_equal(drawn[~shown], pixels(noise)[~shown])
        assert (drawn[shown] != pixels(noise)[shown]).any(-1).mean() > 0.9

    def test_hands_out_of_the_image_leave_it_as_it_is(self, body, hands):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8))
        gone = hands.replace(camera=hands.camera + torch.tensor([0.0, 50.0, 0.0]))
        assert np.array_equal(pixels(draw_overlay(noise, gone, body)), pixels(noise))
