"""Known hands placed on people whose bodies are not known."""

import pytest
import torch
from known_hands import HEIGHT, WIDTH, angles, studio_hands

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.detection.people import reach_of
from diffusers_handiffuser.detection.placing import hand_targets, place_hands
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES

KINDS = ("close_up", "close_up", "person")


@pytest.fixture(scope="module")
def known(body):
    return studio_hands(body, KINDS)


def place(known, body, **changes):
    hands, geometry, pixels = known
    poses = torch.stack([hands.left_hand_pose, hands.right_hand_pose], 1)
    given = {
        "wrist_rotations": geometry.rotations[:, :, 0],
        "hand_poses": poses,
        "joints": pixels,
        "visible": hands.hand_visible,
        "image_sizes": torch.tensor([WIDTH, HEIGHT]).expand(len(hands), 2),
    }
    return place_hands(**(given | changes), body_model=body)


def test_hands_are_where_they_were(known, body):
    hands, geometry, pixels = known
    placed = place(known, body)
    visible = hands.hand_visible
    found = body(placed.hand_params)
    assert torch.equal(placed.hand_params.hand_visible, visible)
    assert angles(found.rotations[visible], geometry.rotations[visible]).max() < 0.1
    single = visible.sum(1) == 1
    drawn = hand_joints_in_pixels(placed.hand_params, body, WIDTH, HEIGHT)
    errors = (drawn - pixels).norm(dim=-1).mean(-1)
    assert single.any() and errors[single][visible[single]].max() < 0.05
    assert torch.allclose(placed.error_pixels[visible], errors[visible], atol=1e-3)
    assert placed.error_pixels[~visible].isnan().all()


def test_values_of_other_hands_are_ignored(known, body):
    hands, geometry, pixels = known
    hidden = ~hands.hand_visible
    broken = place(
        known,
        body,
        joints=pixels.masked_fill(hidden[..., None, None], torch.nan),
        wrist_rotations=geometry.rotations[:, :, 0].masked_fill(hidden[..., None, None], torch.nan),
    )
    wanted = place(known, body).hand_params
    for name, value in broken.hand_params.to_dict().items():
        assert value == wanted.to_dict()[name], name


def test_arms_without_a_visible_hand_do_not_depend_on_it(known, body):
    hands = known[0]
    arm = [JOINT_NAMES.index(f"left_{joint}") - 1 for joint in ("shoulder", "elbow", "wrist")]
    for visible, same in (([False, True], True), ([True, False], False)):
        placed = place(known, body, visible=torch.tensor([visible] * len(hands))).hand_params
        poses = placed.body_pose.unflatten(-1, (21, 3))[:, arm]
        assert torch.allclose(poses, poses[:1].expand_as(poses), atol=1e-5) == same
        assert placed.left_hand_pose.any() != same


def test_targets_are_the_joints_of_the_same_hands(known, body):
    hands, geometry, pixels = known
    scales = hands.camera[:, :1].expand(-1, 2) * HEIGHT / 2
    poses = torch.stack([hands.left_hand_pose, hands.right_hand_pose], 1)
    found = hand_targets(geometry.rotations[:, :, 0], poses, pixels[:, :, 0], scales, body)
    visible = hands.hand_visible
    assert (found[visible] - pixels[visible]).norm(dim=-1).max() < 0.05


def test_a_person_without_hands_is_refused(known, body):
    visible = known[0].hand_visible.clone()
    visible[1] = False
    with pytest.raises(ValueError, match="`visible` must name at least one hand of every person, but row 1 has none"):
        place(known, body, visible=visible)


class TestTwoHands:
    """Of one person, in any place within reach: the body moves until both lie on their joints."""

    def errors(self, known, body, offsets):
        """Of randomly turned hands of 10 to 18 pixels whose left wrist is so many metres from the right one."""
        hands, number = known[0], len(offsets)
        turns = rotvec_to_rotmat(torch.randn(number, 2, 3, generator=torch.Generator().manual_seed(0)) * 2)
        poses = torch.stack([hands.left_hand_pose, hands.right_hand_pose], 1)[:1].expand(number, -1, -1)
        wrists = torch.stack([offsets * 50, -offsets * 50], 1) + torch.tensor([WIDTH / 2, HEIGHT / 2])
        joints = hand_targets(turns, poses, wrists, torch.full((number, 2), 100.0), body)
        visible = torch.ones(number, 2, dtype=torch.bool)
        placed = place_hands(turns, poses, joints, visible, torch.tensor([WIDTH, HEIGHT]).expand(number, 2), body)
        assert angles(body(placed.hand_params).rotations[:, :, 0], turns).max() < 0.1
        return placed.error_pixels

    def test_lie_on_their_joints(self, known, body):
        angle = torch.arange(48) * torch.pi / 7
        radius = torch.linspace(0, 0.999, 48)[:, None]
        reach = reach_of(body)
        around = torch.stack([angle.cos(), angle.sin()], -1) * radius * reach.arms
        offsets = torch.tensor([reach.shoulders, 0.0]) + around
        assert self.errors(known, body, offsets).max() < 0.3

    def test_beyond_reach_both_miss_alike(self, known, body):
        errors = self.errors(known, body, torch.tensor([[2.0, 0.0], [-1.2, 0.0], [0.0, 1.5]]))
        assert (errors > 5).all() and (errors[:, 0] - errors[:, 1]).abs().max() < 1
