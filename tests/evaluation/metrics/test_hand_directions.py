"""Views and turns of the studio's own hands, and of the same hands turned the wrong way."""

import math

import pytest
import torch

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.evaluation.metrics.hand_directions import (
    facing_viewer,
    finger_direction,
    palm_normals,
    palm_size,
    thumb_direction,
    turn_name,
    view_name,
)
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import Scene
from diffusers_handiffuser.studio.scenes import pose_scenes

LOOKS = {"skin": "tan", "sleeve": "bare", "background": "red", "texture": "plain", "light": "front"}


@pytest.fixture(scope="module")
def body_model():
    return HandBodyModel.procedural()


def posed(gesture, side, view, seed=0, kind="close_up"):
    sleeve = "red" if kind == "person" else "bare"
    scene = Scene(kind, {side: gesture}, {side: view}, **(LOOKS | {"sleeve": sleeve}), seed=seed)
    return pose_scenes([scene], HandBodyModel.procedural())


def turned(hands, *angles):
    """The whole body turned about the camera's axes x, y and z, degrees."""
    turn = rotvec_to_rotmat(torch.deg2rad(torch.tensor([angles], dtype=torch.float32)))
    return hands.replace(global_orient=rotmat_to_rotvec(turn @ rotvec_to_rotmat(hands.global_orient)))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("view", ["palm", "back", "side"])
def test_view_is_that_of_the_scene(body_model, side, view):
    for seed in (0, 1, 3):
        joints = body_model(posed("open_hand", side, view, seed)).joints_3d
        assert view_name(facing_viewer(joints)[0, SIDES.index(side)].item()) == view


@pytest.mark.parametrize("view, other", [("palm", "back"), ("back", "palm")])
def test_half_a_turn_shows_the_other_face(body_model, view, other):
    hands = posed("flat_hand", "left", view)
    facing = facing_viewer(body_model(turned(hands, 0, 180, 0)).joints_3d)[0, 0].item()
    assert view_name(facing) == other
    assert facing == pytest.approx(-facing_viewer(body_model(hands).joints_3d)[0, 0].item(), abs=1e-4)


def test_normals_are_units_and_mirror(body_model):
    hands = posed("fist", "left", "palm")
    normals = palm_normals(body_model(hands).joints_3d)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(1, 2))
    mirrored = palm_normals(body_model(hands.mirror()).joints_3d)
    assert torch.allclose(mirrored[:, 1], normals[:, 0] * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("gesture, turn, wrong", [("thumbs_up", "up", "down"), ("thumbs_down", "down", "up")])
def test_thumbs(body_model, side, gesture, turn, wrong):
    hands, place = posed(gesture, side, "palm"), SIDES.index(side)
    assert turn_name(thumb_direction(body_model(hands).joints_2d)[0, place]) == turn
    assert turn_name(thumb_direction(body_model(hands.mirror()).joints_2d)[0, 1 - place]) == turn
    assert turn_name(thumb_direction(body_model(turned(hands, 0, 0, 180)).joints_2d)[0, place]) == wrong
    assert turn_name(thumb_direction(body_model(turned(hands, 0, 0, 90)).joints_2d)[0, place]) == "sideways"


@pytest.mark.parametrize("gesture, extended", [("pointing", ["index"]), ("fist", []), ("call_me", ["thumb", "pinky"])])
def test_fingers(body_model, gesture, extended):
    hands = posed(gesture, "right", "palm")
    names = [
        turn_name(finger_direction(body_model(turned(hands, 0, 0, angle)).joints_2d[0, 1], extended))
        for angle in (0, 90, 180, -90)
    ]
    assert names == ["up", "sideways", "down", "sideways"]


def test_directions_are_those_of_the_joints():
    joints = torch.zeros(21, 2)
    joints[8], joints[20], joints[9] = torch.tensor([0.0, -2.0]), torch.tensor([2.0, 0.0]), torch.tensor([5.0, 5.0])
    assert finger_direction(joints, ["index", "pinky"]).tolist() == [1.0, -1.0]
    assert finger_direction(joints, ["thumb"]).tolist() == [5.0, 5.0]
    joints[2], joints[4] = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 3.0])
    assert thumb_direction(joints).tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("angle, name", [(59, "up"), (61, "sideways"), (119, "sideways"), (121, "down"), (-59, "up")])
def test_limits_of_turns(angle, name):
    radians = math.radians(angle)
    assert turn_name(torch.tensor([math.sin(radians), -math.cos(radians)])) == name


@pytest.mark.parametrize("angle, name", [(41, "palm"), (43, "side"), (137, "side"), (139, "back")])
def test_limits_of_views(angle, name):
    assert view_name(math.cos(math.radians(angle))) == name


def test_palms_are_larger_in_close_ups(body_model):
    sizes = []
    for kind in ("person", "close_up"):
        hands = posed("peace", "left", "palm", kind=kind)
        sizes.append(palm_size(body_model(hands).joints_3d, hands.camera)[0, 0].item())
        half = hands.replace(camera=hands.camera * torch.tensor([0.5, 1.0, 1.0]))
        assert palm_size(body_model(half).joints_3d, half.camera)[0, 0].item() == pytest.approx(sizes[-1] / 2)
    assert sizes[0] < 0.3 < 0.45 < sizes[1]
