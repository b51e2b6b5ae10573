"""Skeletons, pixel by pixel as public code draws them, and what of a person they show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.keypoints import HEAD_POINTS, OpenPoseKeypoints, keypoints_of
from diffusers_handiffuser.rendering.openpose_json import read_openpose_json
from diffusers_handiffuser.rendering.skeletons import (
    BODY_COLORS,
    HAND_EDGE_COLORS,
    LIMB_COLORS,
    draw_keypoints,
)

RECORDED = Path(__file__).parents[1] / "fixtures" / "skeletons"
HANDS_ONLY = {(0, 0, 0), (0, 0, 255), *HAND_EDGE_COLORS}
FACE = {BODY_COLORS[point] for point in HEAD_POINTS}


def assert_twins(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal in at least 99.5 % of the lit pixels, in the very same colours."""
    lit = ours.any(-1) | theirs.any(-1)
    assert lit.any()
    assert (ours == theirs).all(-1)[lit].mean() >= 0.995
    assert set(map(tuple, ours[ours.any(-1)])) == set(map(tuple, theirs[theirs.any(-1)]))


def colors_of(image: Image.Image) -> set:
    return {color for _, color in image.getcolors(image.width * image.height)}


@pytest.fixture(scope="module")
def person():
    """Facing the camera from the knees up, forearms raised beside the head."""
    hands = HandParams.zeros()
    pose = hands.body_pose.view(21, 3).clone()
    pose[15], pose[16] = torch.tensor([0.0, 0.0, -0.9]), torch.tensor([0.0, 0.0, 0.9])  # shoulders: arms down
    pose[17], pose[18] = torch.tensor([0.0, 0.0, 2.2]), torch.tensor([0.0, 0.0, -2.2])  # elbows: forearms up
    return hands.replace(
        global_orient=torch.tensor([torch.pi, 0.0, 0.0]),
        body_pose=pose.flatten(),
        camera=torch.tensor([1.3, 0.0, 0.2]),
        hand_visible=torch.tensor([True, True]),
    )


@pytest.fixture(scope="module")
def close_up(person):
    """The same at a larger scale: both hands, shoulders and head are in the image, the elbows are not."""
    wrists = procedural_body()(person).joints_3d[:, 0].mean(0)
    return person.replace(camera=torch.tensor([2.3, -float(wrists[0]), 0.25 - float(wrists[1])]))


class TestTwin:
    @pytest.mark.parametrize("path", sorted(RECORDED.glob("*.png")), ids=lambda path: path.stem)
    def test_recorded_images(self, path):
        """Images that OpenCV drew, by `opencv_skeletons.py`."""
        name, style = path.stem.split(".")
        keypoints = read_openpose_json(RECORDED / f"{name}.json")
        width, height = keypoints.size
        theirs = np.asarray(Image.open(path))
        assert_twins(np.asarray(draw_keypoints(keypoints, height, width, style)), theirs)

    @pytest.mark.parametrize("style, size", [("dwpose", 256), ("dwpose", (1536, 640)), ("xinsir", 499)])
    @pytest.mark.parametrize("seed", range(3))
    def test_any_points(self, style, size, seed):
        """People of random points, some missing."""
        pytest.importorskip("cv2", reason="comes with the extra `detect` where MediaPipe has wheels")
        import opencv_skeletons

        width, height = size if isinstance(size, tuple) else (size, size)
        generator = torch.Generator().manual_seed(seed)
        body, hands = (
            torch.rand(shape, dtype=torch.float64, generator=generator) for shape in ((2, 18, 3), (2, 2, 21, 3))
        )
        for points in (body, hands):
            points[..., :2] *= torch.tensor([width, height])
            points[..., 2] = (points[..., 2] > 0.2).double()
            points *= points[..., 2:]
        keypoints = OpenPoseKeypoints(body, hands, (width, height))
        ours = np.asarray(draw_keypoints(keypoints, height, width, style))
        assert_twins(ours, opencv_skeletons.draw(keypoints, height, width, style))

    @pytest.mark.parametrize("size", [1024, (1024, 1536), 2048])
    def test_a_person_in_xinsirs_style(self, person, size):
        pytest.importorskip("cv2", reason="comes with the extra `detect` where MediaPipe has wheels")
        import opencv_skeletons

        width, height = size if isinstance(size, tuple) else (size, size)
        keypoints = keypoints_of(person.reshape(1), procedural_body(), height, width)
        ours = person.to_condition("openpose", size, style="xinsir")
        assert_twins(np.asarray(ours), opencv_skeletons.draw(keypoints, height, width, "xinsir"))

    def test_recorded_images_are_what_opencv_draws(self):
        pytest.importorskip("cv2", reason="comes with the extra `detect` where MediaPipe has wheels")
        import opencv_skeletons

        for name, styles in opencv_skeletons.STYLES.items():
            keypoints = read_openpose_json(RECORDED / f"{name}.json")
            width, height = keypoints.size
            for style in styles:
                drawn = opencv_skeletons.draw(keypoints, height, width, style)
                assert np.array_equal(drawn, np.asarray(Image.open(RECORDED / f"{name}.{style}.png")))


class TestStyles:
    def test_hues_are_rounded_as_opencv_does(self):
        """Halves go to even numbers, and 178.49999999999994 of the eleventh bone down."""
        assert HAND_EDGE_COLORS[1] == (255, 77, 0) and HAND_EDGE_COLORS[3] == (255, 229, 0)
        assert HAND_EDGE_COLORS[5] == (128, 255, 0) and HAND_EDGE_COLORS[11] == (0, 178, 255)
        assert len(set(HAND_EDGE_COLORS)) == 20

    def test_dwpose_draws_fixed_pixels(self, close_up):
        """A lone point is a disc of 49 pixels at any size."""
        for size in (256, 1024):
            hands = torch.zeros(1, 2, 21, 3)
            hands[0, 0, 0] = torch.tensor([size / 2, size / 3, 1.0])
            keypoints = OpenPoseKeypoints(torch.zeros(1, 18, 3), hands)
            assert np.asarray(draw_keypoints(keypoints, size, size)).any(-1).sum() == 49

    @pytest.mark.parametrize("size, thickness", [(499, 9), (500, 17), (999, 17), (1000, 25), (2048, 33)])
    def test_xinsir_draws_thicker_limbs_in_larger_images(self, size, thickness):
        body = torch.zeros(1, 18, 3)
        body[0, 2], body[0, 3] = torch.tensor([50.0, 100.0, 1.0]), torch.tensor([350.0, 100.0, 1.0])
        keypoints = OpenPoseKeypoints(body, torch.zeros(1, 2, 21, 3))
        drawn = np.asarray(draw_keypoints(keypoints, size, size, "xinsir"))
        assert drawn[:, 200].any(-1).sum() == thickness
        assert (drawn[:, 50] == BODY_COLORS[2]).all(-1).sum() == 9, "points have the same radius always"

    def test_points_of_hands_on_the_upper_and_left_edge_are_not_drawn(self):
        hands = torch.zeros(1, 2, 21, 3)
        hands[0, 1, :3] = torch.tensor([[0.9, 50.0, 1.0], [50.0, 0.9, 1.0], [50.0, 50.0, 1.0]])
        drawn = np.asarray(draw_keypoints(OpenPoseKeypoints(torch.zeros(1, 18, 3), hands), 64, 64))
        assert set(map(tuple, drawn[drawn.any(-1)])) == {(0, 0, 255)} and drawn.any(-1).sum() == 49


class TestPerson:
    def test_all_parts(self, person):
        """Nose, eyes and ears are drawn in their colours, as are arms, and the wearer's right is on the left."""
        image = person.to_condition("openpose", 512)
        keypoints = keypoints_of(person.reshape(1), procedural_body(), 512, 512)
        for point in (0, 1, 2, 3, 5, 6, 14, 15, 16, 17):
            x, y, seen = keypoints.body[0, point].tolist()
            assert seen and image.getpixel((int(x), int(y))) == BODY_COLORS[point]
        nose, right_eye, left_eye, right_ear, left_ear = keypoints.body[0, [0, 14, 15, 16, 17], :2]
        assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
        assert right_eye[1] < nose[1] < keypoints.body[0, 1, 1], "eyes are above the nose, the neck is below"
        assert LIMB_COLORS[12] in colors_of(image), "from the neck to the nose"

    @pytest.mark.parametrize(
        "turn, seen",
        [
            (0.0, {0, 14, 15, 16, 17}),
            (torch.pi / 2, {0, 15, 17}),
            (-torch.pi / 2, {0, 14, 16}),
            (torch.pi, {16, 17}),
            (0.8, {0, 14, 15, 17}),
        ],
    )
    def test_the_head_hides_what_looks_away(self, person, turn, seen):
        pose = person.body_pose.clone().view(21, 3)
        pose[14] = torch.tensor([0.0, -turn, 0.0])  # of the head joint: to the person's right
        keypoints = keypoints_of(person.replace(body_pose=pose.flatten()).reshape(1), procedural_body(), 512, 512)
        assert {point for point in HEAD_POINTS if keypoints.body[0, point, 2]} == seen

    def test_chosen_parts(self, person):
        hands = colors_of(person.to_condition("openpose", 512, parts="hands"))
        body = colors_of(person.to_condition("openpose", 512, parts=("body",)))
        face = colors_of(person.to_condition("openpose", 512, parts=["face"]))
        assert hands <= HANDS_ONLY and (0, 0, 255) in hands
        assert BODY_COLORS[1] in body and not (FACE | set(HAND_EDGE_COLORS[1::2])) & body
        assert face == {(0, 0, 0), *FACE, *LIMB_COLORS[13:]}

    def test_hidden_hand(self, person):
        """The other arm is still drawn."""
        hidden = person.replace(hand_visible=torch.tensor([True, False]))
        keypoints = keypoints_of(hidden.reshape(1), procedural_body(), 512, 512)
        assert not keypoints.hands[0, 1].any() and keypoints.hands[0, 0, :, 2].all()
        assert keypoints.body[0, [2, 3, 4, 5, 6, 7], 2].all()

    def test_close_up_has_no_shoulder_line(self, close_up):
        """Shoulders and head are in the image, but no arm connects them with the hands."""
        everything = keypoints_of(close_up.reshape(1), procedural_body(), 512, 512, only_connected=False)
        assert everything.body[0, [0, 1, 2, 4, 5, 7], 2].all() and not everything.body[0, [3, 6], 2].any()
        assert colors_of(close_up.to_condition("openpose", 512)) <= HANDS_ONLY
        assert BODY_COLORS[1] in colors_of(close_up.to_condition("openpose", 512, style="scaled"))

    def test_close_ups_of_the_checkpoint(self):
        """Their shoulders are in the image: a line between them would go through the hands."""
        pipe = HanDiffuserPipeline.from_pretrained(MINI)
        pipe.set_progress_bar_config(disable=True)
        hands = pipe.sample_hand_params(
            "two hands making a peace sign",
            16,
            num_hand_inference_steps=10,
            generator=torch.Generator().manual_seed(0),
        )
        everything = keypoints_of(hands, pipe.body_model, 512, 512, only_connected=False)
        assert everything.body[:, [1, 2, 5], 2].all(-1).sum() >= 12
        assert all(colors_of(image) <= HANDS_ONLY for image in hands.to_condition("openpose", 512))

    def test_one_arm_is_enough(self, person):
        """The right elbow lies beyond the edge: the body hangs on the left hand."""
        moved = person.replace(camera=person.camera + torch.tensor([0.0, -0.52, 0.0]))
        keypoints = keypoints_of(moved.reshape(1), procedural_body(), 512, 512)
        assert not keypoints.body[0, 3, 2] and keypoints.body[0, [1, 2, 5, 6, 7], 2].all()
        lost = moved.replace(hand_visible=torch.tensor([False, True]))
        assert not keypoints_of(lost.reshape(1), procedural_body(), 512, 512).body.any()

    def test_people(self, person):
        """Two people in one image are drawn as each alone, where they do not overlap."""
        pair = person.reshape(1).repeat_interleave(2)
        pair = pair.replace(camera=torch.tensor([[0.8, -0.6, 0.2], [0.8, 0.6, 0.2]]))
        together = np.asarray(pair.to_condition("openpose", (768, 512), people=True))
        one, other = (np.asarray(image) for image in pair.to_condition("openpose", (768, 512)))
        assert not (one.any(-1) & other.any(-1)).any()
        assert np.array_equal(together, np.maximum(one, other))

    def test_hands_beyond_the_centred_square(self, person):
        """A wide image shows what a square one cuts off."""
        moved = person.replace(camera=person.camera + torch.tensor([0.0, 1.4, 0.0]))
        square, wide = (moved.to_condition("openpose", size, parts="hands") for size in (256, (512, 256)))
        assert not np.asarray(square).any() and np.asarray(wide)[:, 384:].any()
