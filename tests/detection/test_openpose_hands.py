"""Hands fitted to OpenPose's key points."""

import pytest
import torch

from diffusers_handiffuser import HandParams, OpenPoseKeypoints, fit_hands, read_openpose_json, write_openpose_json
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.keypoints import keypoints_of

SIZE = (640, 480)


@pytest.fixture(scope="module")
def people():
    """Two people whose palms face the camera; the right hand of the second one is hidden."""
    body = procedural_body()
    means = body.mean_hand_poses()
    return HandParams.zeros(2).replace(
        global_orient=torch.tensor([[torch.pi, 0.0, 0.0]] * 2),
        left_hand_pose=means[:1].repeat(2, 1),
        right_hand_pose=means[1:].repeat(2, 1),
        camera=torch.tensor([[0.7, -0.9, 0.2], [0.7, 0.9, 0.2]]),
        hand_visible=torch.tensor([[True, True], [True, False]]),
    )


@pytest.fixture(scope="module")
def keypoints(people):
    return keypoints_of(people, procedural_body(), SIZE[1], SIZE[0])


def test_hands_lie_on_their_points(people, keypoints, tmp_path):
    """From a file, as people sent them: each with its own hands, on its sides, with a low confidence."""
    write_openpose_json(tmp_path / "pose.json", keypoints)
    fitted = fit_hands(read_openpose_json(tmp_path / "pose.json"))
    assert fitted.hand_params.hand_visible.tolist() == people.hand_visible.tolist()
    assert fitted.image_sizes.tolist() == [list(SIZE)] * 2 and fitted.image_index.tolist() == [0, 0]
    again = keypoints_of(fitted.hand_params, procedural_body(), SIZE[1], SIZE[0])
    distance = (again.hands - keypoints.hands)[..., :2].norm(dim=-1)[people.hand_visible]
    assert distance.mean() < 1.0
    confidence = fitted.confidence[people.hand_visible]
    assert (confidence > 0).all() and (confidence < 0.8).all()
    assert fitted.error_metres.isnan().all()


def test_several_images(keypoints):
    alone, nobody = fit_hands(keypoints), OpenPoseKeypoints(keypoints.body[:0], keypoints.hands[:0], SIZE)
    fitted = fit_hands([keypoints, nobody, keypoints])
    assert fitted.image_index.tolist() == [0, 0, 2, 2]
    torch.testing.assert_close(fitted.error_pixels[2:], alone.error_pixels, equal_nan=True)
    assert len(fit_hands(nobody)) == 0 and len(fit_hands([nobody])) == 0


def test_sizes(keypoints):
    unknown = OpenPoseKeypoints(keypoints.body, keypoints.hands)
    with pytest.raises(ValueError, match="`image_sizes` must be given: the key points of image 1 name no size"):
        fit_hands([keypoints, unknown])
    assert fit_hands(unknown, SIZE).image_sizes.tolist() == [list(SIZE)] * 2


def test_hands_with_missing_points_are_left_out(keypoints):
    hands = keypoints.hands.clone()
    hands[0, 1, [8, 12]] = 0
    with pytest.warns(
        RuntimeWarning, match="image 0, left out is the right hand of person 0: 2 of its 21 points are missing"
    ) as caught:
        fitted = fit_hands(OpenPoseKeypoints(keypoints.body, hands, SIZE))
    assert fitted.hand_params.hand_visible.tolist() == [[True, False]] * 2
    assert [warning.filename for warning in caught] == [__file__]


def test_mixed_images(keypoints):
    with pytest.raises(TypeError, match="`OpenPoseKeypoints`"):
        fit_hands([keypoints, 3], SIZE)
