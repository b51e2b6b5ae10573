"""Defective hands, measured on their geometry at rest."""

import itertools

import pytest
import torch

from diffusers_handiffuser.evaluation.metrics.hand_checks import limit_violations
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec
from diffusers_handiffuser.hands.skeleton import FINGERTIP_VERTEX_IDS, JOINT_NAMES, OPENPOSE_FINGERS, SIDES
from diffusers_handiffuser.rendering.caps import border_loops
from diffusers_handiffuser.rendering.rasterizer import rasterize
from diffusers_handiffuser.studio.defects import Defect
from diffusers_handiffuser.studio.gestures import LONG_FINGERS
from diffusers_handiffuser.studio.malformed import malform
from diffusers_handiffuser.studio.rest_body import RestBody, hand_weight

FINGERS = ("thumb", *LONG_FINGERS)


@pytest.fixture(scope="module")
def model() -> HandBodyModel:
    return procedural_body()


def rest(model, defect: Defect | None = None) -> RestBody:
    """The mean body with all its faces, perhaps with a defect."""
    body = RestBody.of(model, None, model.faces, torch.arange(len(model.faces)))
    if defect is not None:
        malform(body, defect)
    return body


def joint(body: RestBody, name: str) -> torch.Tensor:
    return body.joints[JOINT_NAMES.index(name)]


def tip(body: RestBody, side: str, finger: str) -> torch.Tensor:
    return body.vertices[FINGERTIP_VERTEX_IDS[side][OPENPOSE_FINGERS.index(finger)]]


def long_fingers_across(body: RestBody, side: str, distance: float = 0.145) -> int:
    """How many pieces of the silhouette, from above, a line across the long fingers meets, so far from the wrist."""
    wrist = joint(body, f"{side}_wrist")
    sign = 1.0 if side == "left" else -1.0
    hand = (hand_weight(body, side) > 0.5)[body.faces].all(1)
    points = (body.vertices - wrist) * torch.tensor([sign, 1.0, 1.0])
    # One pixel is half a millimetre.
    screen = torch.stack([2000 * points[:, 0], 2000 * points[:, 2] + 200, points[:, 1]], -1)
    seen = rasterize(screen[None], body.faces[hand], 400, 500, cull_backfaces=False)
    column = torch.isfinite(seen.depth[0, :, round(2000 * distance)]).int()
    return int((column.diff() > 0).sum())


@pytest.mark.parametrize("side", SIDES)
class TestNumberOfFingers:
    def test_of_a_good_hand_is_four_and_a_thumb(self, model, side):
        assert [long_fingers_across(rest(model), side, distance) for distance in (0.123, 0.145)] == [4, 4]

    @pytest.mark.parametrize("finger", LONG_FINGERS)
    def test_an_extra_finger_is_one_more(self, model, side, finger):
        body = rest(model, Defect("extra_finger", side, finger))
        assert long_fingers_across(body, side, 0.123 if finger == "pinky" else 0.145) == 5
        other = "left" if side == "right" else "right"
        assert long_fingers_across(body, other) == 4

    @pytest.mark.parametrize("finger", LONG_FINGERS)
    def test_a_missing_finger_is_one_less(self, model, side, finger):
        assert long_fingers_across(rest(model, Defect("missing_finger", side, finger)), side) == 3

    @pytest.mark.parametrize("finger", LONG_FINGERS[:-1])
    def test_fused_fingers_are_one_less(self, model, side, finger):
        assert long_fingers_across(rest(model, Defect("fused_fingers", side, finger)), side) == 3


@pytest.mark.parametrize("side", SIDES)
class TestExtraFinger:
    def test_has_joints_of_its_own_that_move_it(self, model, side):
        body = rest(model, Defect("extra_finger", side, "ring"))
        assert body.joints.shape == (55, 3) and body.rotations.shape == (55, 3, 3)
        assert body.parents[52:] == (JOINT_NAMES.index(f"{side}_wrist"), 52, 53)
        assert torch.allclose(body.weights.sum(1), torch.ones(len(body.vertices)), atol=1e-5)
        straight = body.posed()
        body.rotations[53] = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
        moved = (body.posed() - straight).norm(dim=-1) > 0.01
        assert moved.sum() > 50 and not moved[: len(model.template)].any()

    def test_is_as_thick_as_the_one_that_it_copies(self, model, side):
        body = rest(model, Defect("extra_finger", side, "middle", 0.9))
        new, old = (
            torch.linalg.svdvals(points - points.mean(0))[1:] / len(points) ** 0.5
            for points in (
                body.vertices[body.weights[:, 54] > 0.9],
                body.vertices[body.weights[:, JOINT_NAMES.index(f"{side}_middle3")] > 0.9],
            )
        )
        assert torch.allclose(new / old, torch.tensor(0.9), atol=0.02)

    def test_of_a_thumb_is_a_second_thumb(self, model, side):
        body = rest(model, Defect("extra_finger", side, "thumb"))
        thumbs = joint(body, f"{side}_thumb3"), body.joints[54]
        assert 0.01 < (thumbs[0] - thumbs[1]).norm() < 0.06


@pytest.mark.parametrize("side", SIDES)
class TestOtherDefects:
    @pytest.mark.parametrize("finger", FINGERS)
    def test_too_long_stretches_one_finger(self, model, side, finger):
        good, bad = rest(model), rest(model, Defect("too_long", side, finger, 1.6))
        for other in FINGERS:
            first = f"{side}_{other}{2 if other == 'thumb' else 1}"
            lengths = [(tip(body, side, other) - joint(body, first)).norm() for body in (good, bad)]
            assert lengths[1] / lengths[0] == pytest.approx(1.6 if other == finger else 1, abs=0.03)

    @pytest.mark.parametrize("finger", LONG_FINGERS)
    def test_bent_backwards_exceeds_the_limits_in_one_joint(self, model, side, finger):
        body = rest(model, Defect("bent_backwards", side, finger, 70.0, seed=1))
        visible = torch.tensor([[side == "left", side == "right"]])
        pose = rotmat_to_rotvec(body.rotations)[None]
        hands = HandParams.from_full_pose(pose, torch.zeros(1, 10), torch.tensor([[1.0, 0, 0]]), visible)
        assert limit_violations(hands, model).item() == pytest.approx(1 / 15)
        # Towards the back of the hand, which looks up.
        end = body.posed()[FINGERTIP_VERTEX_IDS[side][OPENPOSE_FINGERS.index(finger)]]
        knuckle = joint(body, f"{side}_{finger}1") - joint(body, "pelvis")
        assert (end - knuckle)[1] > 0.02

    def test_swapped_side_is_the_other_hand_with_the_palm_where_it_was(self, model, side):
        other = "left" if side == "right" else "right"
        good, bad = rest(model), rest(model, Defect("swapped_side", side))
        thumb, index = (joint(bad, f"{side}_{name}3") - joint(bad, f"{side}_wrist") for name in ("thumb", "index"))
        assert thumb[2] < 0 < (joint(good, f"{side}_thumb3") - joint(good, f"{side}_wrist"))[2]
        assert thumb[1] < 0 and index[0].sign() == joint(good, f"{side}_wrist")[0].sign()
        used = bad.source_vertex[bad.faces.unique()]
        tips = set(used.tolist())
        assert not tips & set(FINGERTIP_VERTEX_IDS[side])
        assert set(FINGERTIP_VERTEX_IDS[other]) <= tips

    @pytest.mark.parametrize(
        ("kind", "finger"),
        [*itertools.product(("missing_finger", "too_long"), ("thumb", "ring")), ("swapped_side", None)],
    )
    def test_leaves_no_hole(self, model, side, kind, finger):
        body = rest(model, Defect(kind, side, finger, 1.5 if kind == "too_long" else 1.0))
        assert len(border_loops(body.faces)) == len(border_loops(model.faces))

    def test_leaves_the_other_arm_alone(self, model, side):
        far = hand_weight(rest(model), "left" if side == "right" else "right") > 0.5
        for kind, finger in (("missing_finger", "ring"), ("fused_fingers", "index"), ("extra_finger", "middle")):
            bad = rest(model, Defect(kind, side, finger))
            moved = (bad.vertices[: len(far)] - model.template).norm(dim=-1)
            assert moved[far].max() < 1e-6
