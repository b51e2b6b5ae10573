"""OpenPose's JSON: our own, ComfyUI's, OpenPose's, and what is none."""

import json

import numpy as np
import pytest
import torch

from diffusers_handiffuser import HandParams, OpenPoseKeypoints, read_openpose_json, write_openpose_json
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.keypoints import keypoints_of
from diffusers_handiffuser.rendering.openpose_json import is_openpose_json
from diffusers_handiffuser.rendering.skeletons import draw_keypoints


@pytest.fixture(scope="module")
def people():
    """Two people side by side in a wide image, the right hand of the second one hidden."""
    return HandParams.zeros(2).replace(
        global_orient=torch.tensor([[torch.pi, 0.0, 0.0]] * 2),
        camera=torch.tensor([[0.75, -0.9, 0.2], [0.75, 0.9, 0.2]]),
        hand_visible=torch.tensor([[True, True], [True, False]]),
    )


@pytest.fixture
def write(tmp_path):
    """Writes JSON and returns the path."""

    def write(values):
        path = tmp_path / "pose.json"
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        return path

    return write


def flat(points) -> list[float]:
    return torch.as_tensor(points).flatten().tolist()


def random_points(*shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    points = torch.rand((*shape, 3), dtype=torch.float64, generator=generator) * 300
    points[..., 2] = (points[..., 2] > 90).double()
    return points * points[..., 2:]


class TestOurOwn:
    def test_key_points_return_exactly(self, tmp_path):
        keypoints = OpenPoseKeypoints(random_points(3, 18), random_points(3, 2, 21), (640, 300))
        write_openpose_json(tmp_path / "pose.json", keypoints)
        read = read_openpose_json(tmp_path / "pose.json")
        assert torch.equal(read.body, keypoints.body) and torch.equal(read.hands, keypoints.hands)
        assert read.size == (640, 300) and len(read) == 3

    def test_hands_are_written_as_they_are_drawn(self, people, tmp_path):
        """The file draws the very image of `to_condition`."""
        write_openpose_json(tmp_path / "pose.json", people, (768, 512))
        read = read_openpose_json(tmp_path / "pose.json")
        assert read.hands[..., 2].all(-1).tolist() == people.hand_visible.tolist()
        expected = people.to_condition("openpose", (768, 512), people=True)
        assert draw_keypoints(read, 512, 768).tobytes() == expected.tobytes()

    def test_what_the_file_holds(self, people, tmp_path):
        write_openpose_json(tmp_path / "pose.json", people, (768, 512))
        values = json.loads((tmp_path / "pose.json").read_text())
        assert (values["canvas_width"], values["canvas_height"]) == (768, 512)
        first, second = values["people"]
        assert len(first["pose_keypoints_2d"]) == 54 and len(first["hand_left_keypoints_2d"]) == 63
        assert second["hand_right_keypoints_2d"] == [] and len(second["hand_left_keypoints_2d"]) == 63
        wrist = keypoints_of(people, procedural_body(), 512, 768).hands[0, 0, 0]
        assert first["hand_left_keypoints_2d"][:3] == wrist.tolist()
        assert set(first["hand_left_keypoints_2d"][2::3]) == {1.0}, "other tools draw only sure points"

    def test_parts_and_body(self, people, tmp_path):
        body = procedural_body()
        write_openpose_json(tmp_path / "hands.json", people, 512, body, parts="hands")
        read = read_openpose_json(tmp_path / "hands.json")
        assert not read.body.any() and read.size == (512, 512)
        assert torch.equal(read.hands, keypoints_of(people, body, 512, 512).hands)

    def test_nobody(self, people, tmp_path):
        write_openpose_json(tmp_path / "pose.json", people[:0], 64)
        read = read_openpose_json(tmp_path / "pose.json")
        assert len(read) == 0 and read.size == (64, 64)

    def test_bad_arguments(self, people, tmp_path):
        path, keypoints = tmp_path / "pose.json", OpenPoseKeypoints(random_points(1, 18), random_points(1, 2, 21))
        for arguments, words in [
            ((people,), "`size` of the image must be given with hand parameters"),
            ((keypoints,), "`size` of the image must be given: the key points have none"),
            ((people, (64, 0)), "`size`.*64 x 0"),
        ]:
            with pytest.raises(ValueError, match=words):
                write_openpose_json(path, *arguments)
        with pytest.raises(ValueError, match="must be among body, hands, face, got 'feet'"):
            write_openpose_json(path, people, 64, parts=("feet",))
        with pytest.raises(ValueError, match="`parts` are for hand parameters"):
            write_openpose_json(path, keypoints, 64, parts=("hands",))
        with pytest.raises(TypeError, match="`hand_params` must be HandParams, got dict"):
            write_openpose_json(path, people.to_dict(), 64)
        assert not path.exists()


class TestOthers:
    def test_comfyui(self, write):
        """A list of one image; fractions of its sides; null for a hand that is not there."""
        body, hand = random_points(18), random_points(21)
        for points in (body, hand):
            points[:, 0] /= 512
            points[:, 1] /= 320
        person = {
            "pose_keypoints_2d": flat(body),
            "face_keypoints_2d": None,
            "hand_left_keypoints_2d": None,
            "hand_right_keypoints_2d": flat(hand),
        }
        read = read_openpose_json(write([{"people": [person], "canvas_height": 320, "canvas_width": 512}]))
        scale = torch.tensor([512.0, 320.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(read.body[0], body * scale)
        torch.testing.assert_close(read.hands[0, 1], hand * scale)
        assert read.size == (512, 320) and not read.hands[0, 0].any()

    def test_openpose_itself(self, write):
        """25 points in pixels, without a size; feet and the centre of the hips are left out."""
        body = torch.arange(75.0).view(25, 3) + 10
        person = {"person_id": [-1], "pose_keypoints_2d": flat(body), "hand_left_keypoints_2d": []}
        read = read_openpose_json(write({"version": 1.3, "people": [person]}))
        assert read.size is None
        wanted = [*range(8), 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
        assert torch.equal(read.body[0], body[wanted].double())

    def test_points_a_little_outside_of_the_image_are_fractions_still(self, write):
        hand = torch.rand(21, 3)
        hand[3, 0], hand[4, 1] = 1.3, -0.2
        file = {"people": [{"hand_left_keypoints_2d": flat(hand)}], "canvas_width": 200, "canvas_height": 100}
        read = read_openpose_json(write(file))
        assert read.hands[0, 0, 3, 0] == pytest.approx(260) and read.hands[0, 0, 4, 1] == pytest.approx(-20)
        assert not read.body.any()

    def test_points_without_confidence_are_missing(self, write):
        """Whatever stands for their place."""
        hand = random_points(21)
        hand[:, 2] = 1
        hand[5] = torch.tensor([700.0, 800.0, 0.0])
        read = read_openpose_json(write({"people": [{"hand_right_keypoints_2d": flat(hand)}]}))
        assert not read.hands[0, 1, 5].any() and read.hands[0, 1, :, 2].sum() == 20

    def test_byte_order_mark(self, tmp_path):
        """Editors on Windows write one."""
        path = tmp_path / "pose.json"
        path.write_text('{"people": []}', encoding="utf-8-sig")
        assert is_openpose_json(path) and len(read_openpose_json(path)) == 0

    def test_nobody(self, write):
        assert len(read_openpose_json(write({"people": []}))) == 0

    @pytest.mark.parametrize(
        "values, words",
        [
            ("{", "Cannot read OpenPose key points from .*pose.json: .*line 1"),
            ("[" * 100_000, "Cannot read OpenPose key points"),
            ({"poses": []}, "has no list of `people`"),
            ({"people": {}}, "has no list of `people`"),
            ("3", "has no list of `people`"),
            ([], "a list of 0 images; one at a time is read"),
            ([{"people": []}] * 3, "a list of 3 images; one at a time is read"),
            ({"people": [{"keypoints": []}]}, r"people\[0\] has no `pose_keypoints_2d`"),
            ({"people": [None]}, r"people\[0\] has no `pose_keypoints_2d`"),
            ({"people": [{"pose_keypoints_2d": [0.5] * 51}]}, r"has 51 numbers; 54 \(18 points\) or 75 \(25 points\)"),
            (
                {"people": [{"pose_keypoints_2d": []}, {"hand_left_keypoints_2d": [0.5] * 42}]},
                r"people\[1\].hand_left_keypoints_2d has 42 numbers; 63 \(21 points\) are read",
            ),
            (
                {"people": [{"pose_keypoints_2d": ["1"] * 54}]},
                r"people\[0\].pose_keypoints_2d is not a list of numbers",
            ),
            ({"people": [{"pose_keypoints_2d": [True] * 54}]}, "is not a list of numbers"),
            ({"people": [{"pose_keypoints_2d": [None] * 54}]}, "is not a list of numbers"),
            ({"people": [{"pose_keypoints_2d": "1,2"}]}, "is not a list of numbers"),
            ({"people": [{"pose_keypoints_2d": [float("nan")] * 54}]}, "a number that is not finite"),
            ({"people": [{"pose_keypoints_2d": [10**400] * 54}]}, "a number that is not finite"),
            ({"people": [{"pose_keypoints_2d": [0.5] * 54}]}, "fractions, and it has no `canvas_width`"),
            (
                {"people": [{"pose_keypoints_2d": [-0.9, 0.5, 1] * 18}], "canvas_width": 64, "canvas_height": 64},
                "go from -1 to 1",
            ),
            (
                {"people": [], "canvas_width": 64},
                r"`canvas_width` and `canvas_height` must be whole numbers of pixels, got \[64, None\]",
            ),
            ({"people": [], "canvas_width": 0.5, "canvas_height": 64}, "must be whole numbers of pixels"),
            ({"people": [], "canvas_width": "64", "canvas_height": 64}, "must be whole numbers of pixels"),
        ],
    )
    def test_refused_by_name(self, write, values, words):
        with pytest.raises(ValueError, match=words) as caught:
            read_openpose_json(write(values))
        assert "\n" not in str(caught.value) and "pose.json" in str(caught.value)

    def test_hand_parameters_are_named(self, people, tmp_path):
        people.save(tmp_path / "hands.json")
        with pytest.raises(ValueError, match="holds hand parameters, which `HandParams.load` reads"):
            read_openpose_json(tmp_path / "hands.json")

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="No OpenPose key points at .*nowhere.json"):
            read_openpose_json(tmp_path / "nowhere.json")


class TestKeypoints:
    def test_checked(self):
        body, hands = random_points(2, 18), random_points(2, 2, 21)
        assert repr(OpenPoseKeypoints(body, hands, (4, 3))) == "OpenPoseKeypoints(people=2, hands=4, size=(4, 3))"
        for arguments, words in [
            ((body[:, :17], hands), r"`body` must have shape \(P, 18, 3\), got \(2, 17, 3\)"),
            ((body, hands[:1]), r"`hands` must have shape \(2, 2, 21, 3\), got \(1, 2, 21, 3\)"),
            ((body * np.nan, hands), "`body` must hold finite numbers"),
        ]:
            with pytest.raises(ValueError, match=words):
                OpenPoseKeypoints(*arguments)
        with pytest.raises(TypeError, match="`hands` must be a torch.Tensor, got list"):
            OpenPoseKeypoints(body, hands.tolist())
