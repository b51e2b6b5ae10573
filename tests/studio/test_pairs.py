import random

import pytest
import torch
import torch.nn.functional as F

from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.studio import DEFECTS, Defect, Scene, Studio, draw_pairs, sample_defect, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

SIZE = 96


@pytest.fixture(scope="module")
def studio():
    return Studio(size=SIZE)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene("close_up", {"right": "open_hand"}, {"right": "palm"}, "tan", "blue", "white", "plain", "left", 7)


@pytest.fixture(scope="module")
def pairs(studio, scene):
    """One of each kind of a hand, then two people."""
    scenes = [scene] * len(DEFECTS) + [sample_scene(0, "train", index, "person") for index in range(2)]
    defects = [
        sample_defect(s, random.Random(k), kind) for k, (s, kind) in enumerate(zip(scenes, 2 * DEFECTS, strict=False))
    ]
    return scenes, draw_pairs(studio, scenes, defects)


class TestPairs:
    def test_good_images_are_those_of_the_studio(self, studio, pairs):
        scenes, drawn = pairs
        images, hand_params = studio.draw(scenes)
        assert torch.equal(drawn.good, images)
        assert torch.equal(drawn.hand_params.full_pose, hand_params.full_pose)
        assert torch.equal(drawn.hand_params.camera, hand_params.camera)

    def test_differ_in_the_mask_alone(self, pairs):
        _, drawn = pairs
        differs = (drawn.good != drawn.bad).any(1)
        assert torch.equal(differs, drawn.mask)
        for mask, (x0, y0, x1, y1) in zip(drawn.mask, drawn.boxes.tolist(), strict=True):
            assert mask.sum() > 0.01 * (x1 - x0) * (y1 - y0)
            outside = mask.clone()
            outside[y0:y1, x0:x1] = False
            assert not outside.any() and outside.numel() > (x1 - x0) * (y1 - y0)

    def test_have_boxes_around_the_hand(self, studio, pairs):
        scenes, drawn = pairs
        joints = studio.body_model(pose_scenes(scenes, studio.body_model)).joints_2d
        for box, points, defect in zip(drawn.boxes, joints, drawn.defects, strict=True):
            hand = ((points[("left", "right").index(defect.side)] + 1) * SIZE / 2).clamp(0, SIZE)
            assert (hand >= box[:2]).all() and (hand <= box[2:]).all()

    def test_show_skin_where_a_finger_is_added(self, studio, scene):
        """Before a white background the pixels that a sixth finger covers are darker, and a missing one's lighter."""
        brightness = {}
        for kind in ("extra_finger", "missing_finger"):
            drawn = draw_pairs(studio, [scene], [Defect(kind, "right", "ring")])
            white = [(image.amin(1) > 0.8).float().sum() for image in (drawn.good, drawn.bad)]
            brightness[kind] = float(white[1] - white[0])
        assert brightness["extra_finger"] < -60 and brightness["missing_finger"] > 60

    def test_blur_removes_detail(self, pairs):
        _, drawn = pairs
        row = DEFECTS.index("blurred")
        x0, y0, x1, y1 = drawn.boxes[row].tolist()
        kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
        good, bad = (
            F.conv2d(image[row].mean(0)[None, None, y0:y1, x0:x1], kernel).abs().mean()
            for image in (drawn.good, drawn.bad)
        )
        assert bad < 0.5 * good

    def test_are_a_function_of_scene_and_defect(self, studio, pairs):
        scenes, drawn = pairs
        again = draw_pairs(studio, scenes[-2:], drawn.defects[-2:])
        assert torch.allclose(again.bad, drawn.bad[-2:], atol=1e-3)

    def test_melt_differently_by_seed(self, studio, scene):
        drawn = draw_pairs(studio, [scene] * 2, [Defect("blurred", "right", seed=seed) for seed in (0, 1)])
        assert torch.equal(drawn.good[0], drawn.good[1])
        assert (drawn.bad[0] - drawn.bad[1]).abs().max() > 0.1


class TestRefusals:
    def test_of_a_hand_that_is_not_raised(self, studio, scene):
        with pytest.raises(ValueError, match="`scenes` must raise the hand of its defect"):
            draw_pairs(studio, [scene], [Defect("blurred", "left")])

    def test_of_another_number_of_defects(self, studio, scene):
        with pytest.raises(ValueError, match="`defects` must be one for each of 1 scenes, got 0"):
            draw_pairs(studio, [scene], [])

    def test_of_another_body(self, scene, tmp_path):
        path = HandBodyModel.procedural().to_smplx(tmp_path)
        other = HandBodyModel.from_smplh(path)
        other.register_to_config(body="smplh")
        with pytest.raises(ValueError, match="`studio` must draw the procedural body, but draws 'smplh'"):
            draw_pairs(Studio(other, 16), [scene], [Defect("blurred", "right")])
