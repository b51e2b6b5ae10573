"""Scores of detections: pairs, misses, sides, fingers, joints; made-up detections of known hands."""

import numpy as np
import pytest
import torch

from diffusers_handiffuser import HandBodyModel, HandParams
from diffusers_handiffuser.evaluation import Detection, extended_fingers, match_detections, score_detections
from diffusers_handiffuser.studio import GESTURES, finger_gesture
from diffusers_handiffuser.studio.gestures import LONG_FINGERS, left_hand_pose

BOTH = torch.tensor([True, True])


def posed(gesture):
    angles = torch.tensor([gesture.fingers[finger] for finger in LONG_FINGERS])
    pose = left_hand_pose(angles, torch.tensor(gesture.thumb))
    return HandParams.zeros(1).replace(left_hand_pose=pose[None])


@pytest.fixture(scope="module")
def joints():
    """Of a fist on the left and an open hand on the right, seen from above, `(2, 21, 2)`."""
    left = posed(GESTURES["fist"])
    hands = left.replace(right_hand_pose=posed(GESTURES["open_hand"]).mirror().right_hand_pose)
    return 300 * HandBodyModel.procedural()(hands).joints_3d[0][..., [0, 2]]


def found(joints, side="left", confidence: float | None = 0.8, shift=0.0):
    return Detection(side, joints.double().numpy() + shift, confidence)


class TestFingers:
    def test_every_combination_of_fingers_in_3d(self):
        body, wrong = HandBodyModel.procedural(), []
        for number in range(32):
            names = frozenset(n for bit, n in enumerate(("thumb", *LONG_FINGERS)) if number >> bit & 1)
            said = extended_fingers(body(posed(finger_gesture(names))).joints_3d[0, 0])
            wanted = [name in names for name in ("thumb", *LONG_FINGERS)]
            wrong += [] if said.tolist() == wanted else [sorted(names)]
        assert len(wrong) <= 2, wrong

    def test_does_not_depend_on_scale_place_or_turn(self, joints):
        said = extended_fingers(joints)
        angle = torch.tensor(0.7)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
        assert torch.equal(extended_fingers(3 * joints @ turn + 17), said)
        assert said[0].sum() == 0 and said[1].sum() == 5


class TestMatching:
    def test_by_least_distance_whatever_the_sides(self, joints):
        swapped = [found(joints[1], "left"), found(joints[0], "right")]
        assert match_detections(swapped, joints) == [swapped[1], swapped[0]]

    def test_the_sum_decides(self):
        """Each hand's nearest detection may be the same one."""
        hands = torch.tensor([0.0, 10.0])[:, None, None].expand(2, 21, 2)
        near, far = (found(torch.full((21, 2), place)) for place in (9.0, 30.0))
        assert match_detections([near, far], hands) == [near, far]
        assert match_detections([near], hands) == [None, near]

    def test_nothing_found_and_too_much_found(self, joints):
        assert match_detections([], joints) == [None, None]
        three = [found(joints[0], shift=90.0), found(joints[1]), found(joints[0])]
        assert match_detections(three, joints) == [three[2], three[1]]


class TestScores:
    fingers = torch.tensor([0, 5])

    def test_perfect(self, joints):
        scores = score_detections([found(joints[0]), found(joints[1], "right")], joints, BOTH, self.fingers)
        for name in ("detected", "handedness", "handedness_found", "finger_count", "finger_count_found", "pck@0.05"):
            assert scores[name] == [1, 1], name
        assert scores["confidence"] == scores["confidence_found"] == [0.8, 0.8]
        assert max(scores["joint_error"]) < 1e-6 and scores["extra_hands"] == [0]

    def test_a_miss_counts(self, joints):
        scores = score_detections([found(joints[1], "right", 0.6)], joints, BOTH, self.fingers)
        assert scores["detected"] == [0, 1] and scores["confidence"] == [0, 0.6]
        assert scores["handedness"] == [0, 1] and scores["finger_count"] == [0, 1] and scores["pck@0.5"] == [0, 1]
        assert scores["confidence_found"] == [0.6] and scores["handedness_found"] == [1]
        assert len(scores["joint_error"]) == 1
        none = score_detections([], joints, BOTH, self.fingers)
        assert none["detected"] == none["confidence"] == none["handedness"] == none["pck@0.5"] == [0, 0]
        assert none["joint_error"] == none["confidence_found"] == []

    def test_a_fist_missed_is_no_fist_seen(self, joints):
        """Zero fingers of a hand that was not found are not the zero fingers that were wanted."""
        assert score_detections([], joints, BOTH, torch.tensor([0, 0]))["finger_count"] == [0, 0]

    def test_wrong_side_wrong_fingers_wrong_place(self, joints):
        size = float((joints[1].amax(0) - joints[1].amin(0)).amax())
        shift = np.array([0.3 * size, 0.0])
        only_right = torch.tensor([False, True])
        scores = score_detections([found(joints[1], "left", shift=shift)], joints, only_right, torch.tensor([0, 2]))
        assert scores["handedness"] == [0] and scores["finger_count"] == [0]
        assert scores["joint_error"] == [pytest.approx(0.3, rel=1e-4)]
        assert scores["pck@0.25"] == [0] and scores["pck@0.35"] == [1]

    def test_a_wrong_pairing_gives_a_worse_joint_error(self, joints):
        right = score_detections([found(joints[0])], joints, torch.tensor([True, False]), self.fingers)
        wrong = score_detections([found(joints[1])], joints, torch.tensor([True, False]), self.fingers)
        assert wrong["joint_error"][0] > right["joint_error"][0] + 0.5

    def test_more_hands_than_wanted(self, joints):
        detections = [found(joints[0]), found(joints[1], "right")]
        assert score_detections(detections, joints, torch.tensor([True, False]), self.fingers)["extra_hands"] == [1]
        nothing = score_detections(detections, joints, torch.tensor([False, False]), self.fingers)
        assert nothing["extra_hands"] == [2] and nothing["detected"] == []

    def test_what_cannot_be_judged_is_left_out(self, joints):
        silent = score_detections([found(joints[0], confidence=None)], joints, BOTH, self.fingers, side_named=False)
        assert silent["confidence"] == silent["handedness"] == [] and silent["detected"] == [1, 0]
        undrawn = score_detections([found(joints[0])], joints, BOTH, self.fingers, drawn=torch.tensor([False, False]))
        assert undrawn["joint_error"] == undrawn["pck@0.1"] == [] and undrawn["detected"] == [1, 0]


def test_bad_detections():
    points = np.zeros((21, 2))
    with pytest.raises(ValueError, match="`side`"):
        Detection("Left", points)
    with pytest.raises(ValueError, match="`landmarks`"):
        Detection("left", points[:20])
    with pytest.raises(ValueError, match="`landmarks`"):
        Detection("left", points * np.nan)
    with pytest.raises(ValueError, match="`confidence`"):
        Detection("left", points, 1.5)
    with pytest.raises(ValueError, match="`landmarks_3d`"):
        Detection("left", points, 0.5, points)
    assert Detection("left", np.arange(42.0).reshape(21, 2)).box == (0, 1, 40, 41)
