"""Hands that are known are written as HaMeR, WiLoR and WiLoR-mini would write them, imported, and compared."""

import copy
import warnings

import numpy as np
import pytest
import torch
from known_hands import HEIGHT, MANO_WRIST, MIRROR, WIDTH, angles, studio_hands, visible_hands

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.data.importers import import_mano_hands
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec

KINDS = ("close_up", "two_hands", "person", "close_up", "two_hands")
BOX_SIZE = 90.0


def mano_frame(geometry, place):
    """The joints in the frame of a MANO hand whose wrist is where MANO has it."""
    joints = geometry.joints_3d[place]
    wrist = MANO_WRIST * (MIRROR if place[1] == 0 else 1.0)
    return joints - joints[0] + wrist


def weak_hand(hands, geometry, pixels, place, keypoints=True):
    """As the networks of HaMeR and WiLoR return it: matrices, and left hands as right ones in a flipped crop."""
    rotations, joints = geometry.rotations[place], mano_frame(geometry, place)
    scale = hands.camera[place[0], 0] * HEIGHT / 2
    center = pixels[place].mean(0)
    shift = (pixels[place][0] - center) / scale - joints[0, :2]
    if place[1] == 0:
        rotations = MIRROR[:, None] * rotations * MIRROR
        joints, shift = joints * MIRROR, shift * MIRROR[:2]
    hand = {
        "pred_mano_params": {
            "global_orient": rotations[None, :1],
            "hand_pose": rotations[None, 1:],
            "betas": torch.full((1, 10), 3.0),
        },
        "pred_cam": torch.stack([2 * scale / BOX_SIZE, *shift]),
        "box_center": center,
        "box_size": torch.tensor(BOX_SIZE),
        "img_size": torch.tensor([WIDTH, HEIGHT]),
        "right": torch.tensor(float(place[1])),
    }
    return {**hand, "pred_keypoints_3d": joints[None]} if keypoints else hand


def as_demo(hand):
    """After the line of the demos that un-flips the camera, in place."""
    sign = 2 * hand["right"] - 1
    return {**hand, "pred_cam": hand["pred_cam"] * torch.tensor([1.0, sign, 1.0])}


def as_wilor_mini(hand):
    """Axis-angle arrays of batch size 1, nothing flipped."""
    params, hand = hand["pred_mano_params"], as_demo(hand)
    sign = np.array([1.0, 2 * hand["right"] - 1, 2 * hand["right"] - 1], np.float32)
    hand = {name: np.asarray(value) for name, value in hand.items() if name != "pred_mano_params"}
    for name in ("global_orient", "hand_pose"):
        hand[name] = rotmat_to_rotvec(params[name]).numpy() * sign
    hand["pred_keypoints_3d"] = hand["pred_keypoints_3d"] * np.array([2 * hand["right"] - 1, 1, 1], np.float32)
    return hand


@pytest.fixture(scope="module")
def known(body):
    return studio_hands(body, KINDS)


def people_of(known, write):
    hands, geometry, pixels = known
    people = [[] for _ in range(len(hands))]
    for place in visible_hands(hands):
        people[place[0]].append(write(weak_hand(hands, geometry, pixels, place)))
    return people


def check(known, imported, body, tolerance=0.01):
    hands, geometry, pixels = known
    assert torch.equal(imported.hand_params.hand_visible, hands.hand_visible)
    found = body(imported.hand_params)
    drawn = hand_joints_in_pixels(imported.hand_params, body, WIDTH, HEIGHT)
    for place in visible_hands(hands):
        assert angles(found.rotations[place], geometry.rotations[place]).max() < 0.1
        assert (drawn[place] - pixels[place]).abs().max() < tolerance
        assert imported.error_pixels[place] < tolerance
    assert torch.isnan(imported.error_pixels[~hands.hand_visible]).all()


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (lambda hand: hand, {}),
        (as_demo, {"flipped_camera": False}),
        (as_wilor_mini, {"flipped_pose": False, "flipped_camera": False}),
    ],
    ids=["network", "demo", "wilor-mini"],
)
def test_known_hands_come_back(known, body, write, options):
    imported = import_mano_hands(people_of(known, write), **options)
    check(known, imported, body)
    # What the fingers do is taken over; nothing is known of the shape.
    hands = known[0]
    for i, side in visible_hands(hands):
        name = ("left_hand_pose", "right_hand_pose")[side]
        assert (getattr(imported.hand_params, name)[i] - getattr(hands, name)[i]).abs().max() < 1e-4
    assert (imported.hand_params.betas == 0).all()


def test_a_wrong_convention_shows(known, body):
    people = people_of(known, as_wilor_mini)
    with pytest.raises(AssertionError):
        check(known, import_mano_hands(people), body, tolerance=1.0)


def test_without_keypoints_the_mean_wrist_and_the_bodys_own_hand_are_taken(known, body):
    hands, geometry, pixels = known
    place = visible_hands(hands)[0]
    hand = weak_hand(hands, geometry, pixels, place, keypoints=False)
    imported = import_mano_hands([hand])
    drawn = hand_joints_in_pixels(imported.hand_params, body, WIDTH, HEIGHT)
    assert (drawn[0, place[1]] - pixels[place]).abs().max() < 0.05


def as_relative(body):
    """What the networks' output would be, if it were relative to the mean pose of right hands."""

    def write(hand):
        params = hand["pred_mano_params"]
        params["hand_pose"] = rotmat_to_rotvec(params["hand_pose"]) - body.hand_means[1].reshape(15, 3)
        return hand

    return write


class TestRelativeToTheMean:
    """Poses as smplx takes them with `flat_hand_mean=False`."""

    @pytest.fixture
    def relative(self, known, body):
        return people_of(known, as_relative(body))

    def test_come_back(self, known, body, relative):
        imported = import_mano_hands(relative, flat_hand_mean=False, hand_means=body.hand_means)
        check(known, imported, body)

    def test_come_back_where_nothing_is_flipped(self, known, body):
        def write(hand):
            hand = as_wilor_mini(hand)
            hand["hand_pose"] = hand["hand_pose"] - body.hand_means[int(hand["right"])].reshape(15, 3).numpy()
            return hand

        options = {"flipped_pose": False, "flipped_camera": False, "flat_hand_mean": False}
        check(known, import_mano_hands(people_of(known, write), hand_means=body.hand_means.numpy(), **options), body)

    def test_the_mean_is_that_of_the_body_file(self, known, body, relative, tmp_path):
        licensed = copy.deepcopy(body)
        licensed.register_to_config(body="smplh")
        check(known, import_mano_hands(relative, flat_hand_mean=False, body_model=licensed), body)

    def test_our_own_mean_is_not_taken_for_manos(self, relative, body):
        with pytest.raises(ValueError, match="needs MANO's mean poses: pass `hand_means`"):
            import_mano_hands(relative, flat_hand_mean=False)
        with pytest.raises(ValueError, match=r"`hand_means` must have shape \(2, 45\)"):
            import_mano_hands(relative, flat_hand_mean=False, hand_means=body.hand_means[0])
        for means in (torch.full((2, 45), torch.nan), body.hand_means * torch.tensor([[0.0], [1.0]])):
            with pytest.raises(ValueError, match="`hand_means` must hold finite mean poses, neither of them zero"):
                import_mano_hands(relative, flat_hand_mean=False, hand_means=means)
        with pytest.raises(ValueError, match="`hand_means` is for relative poses: pass `flat_hand_mean=False`"):
            import_mano_hands(relative, hand_means=body.hand_means)

    @pytest.mark.parametrize("keypoints", [True, False])
    def test_are_warned_of_and_absolute_ones_are_not(self, body, keypoints):
        hands, geometry, pixels = studio_hands(body, KINDS * 12)
        known = [weak_hand(hands, geometry, pixels, place, keypoints) for place in visible_hands(hands)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            import_mano_hands(known)
        relative = list(map(as_relative(body), known))
        with pytest.warns(UserWarning, match="look relative to MANO's mean pose.*flat_hand_mean=False"):
            import_mano_hands(relative)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            import_mano_hands(relative, flat_hand_mean=False, hand_means=body.hand_means)


def test_full_camera(known, body):
    """A perspective camera whose image of the same hand differs by what depth does."""
    hands, geometry, _ = known
    place = visible_hands(hands)[0]
    joints = mano_frame(geometry, place)
    translation, focal = torch.tensor([0.05, -0.02, 3.0]), torch.tensor(900.0)
    seen = joints + translation
    pixels = focal * seen[:, :2] / seen[:, 2:] + torch.tensor([WIDTH / 2, HEIGHT / 2])
    rotations = geometry.rotations[place]
    if place[1] == 0:
        joints, rotations = joints * MIRROR, MIRROR[:, None] * rotations * MIRROR
    hand = {
        "global_orient": rotations[0],
        "hand_pose": rotations[1:].tolist(),
        "is_right": place[1],
        "pred_cam_t_full": translation,
        "scaled_focal_length": focal,
        "img_size": (WIDTH, HEIGHT),
        "pred_keypoints_3d": joints,
    }
    imported = import_mano_hands([hand])
    drawn = hand_joints_in_pixels(imported.hand_params, body, WIDTH, HEIGHT)[0, place[1]]
    error = (drawn - pixels).norm(dim=-1)
    assert imported.error_pixels[0, place[1]] == pytest.approx(float(error.mean()), abs=1e-3)
    size = (pixels.amax(0) - pixels.amin(0)).amax()
    assert 0 < error.mean() < 0.03 * size
    assert angles(body(imported.hand_params).rotations[0, place[1], 0], geometry.rotations[place][0]) < 0.1


def test_two_hands_out_of_reach_are_turned_right_and_the_miss_is_reported(known, body):
    hands, geometry, pixels = known
    row = next(i for i in range(len(hands)) if hands.hand_visible[i].all())
    people = [weak_hand(hands, geometry, pixels, (row, side)) for side in range(2)]
    people[1]["box_center"] = people[1]["box_center"] + torch.tensor([600.0, 0.0])
    imported = import_mano_hands([people])
    found = body(imported.hand_params)
    assert angles(found.rotations[0], geometry.rotations[row]).max() < 0.1
    assert imported.error_pixels.min() > 30
    drawn = hand_joints_in_pixels(imported.hand_params, body, WIDTH, HEIGHT)[0]
    miss = (drawn - pixels[row] - torch.tensor([[[0.0, 0.0]], [[600.0, 0.0]]])).norm(dim=-1).mean(-1)
    assert torch.allclose(miss, imported.error_pixels[0], atol=0.05)


class TestRefusals:
    @pytest.fixture
    def hand(self, known):
        return weak_hand(*known, visible_hands(known[0])[0])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"right": None}, r"`people\[0\]`: `is_right` or `right` is missing"),
            ({"img_size": (3,)}, "`img_size` or `image_size` must hold 2 numbers, got 1"),
            ({"pred_mano_params": {}}, "`global_orient` is missing"),
            ({"pred_cam": [0.0, 0, 0]}, "`pred_cam` must have a positive scale, got 0.0"),
            ({"pred_cam": [float("nan"), 0, 0]}, "`pred_cam` holds a number that is not finite"),
            ({"cam_t": [0.0, 0.0, -1.0], "focal_length": 9.0}, "the hand must be in front of the camera"),
        ],
    )
    def test_hands_that_lack_something(self, hand, change, message):
        with pytest.raises(ValueError, match=message):
            import_mano_hands([{**hand, **change}])

    def test_pca(self, hand):
        params = {**hand["pred_mano_params"], "hand_pose": torch.zeros(6)}
        with pytest.raises(
            ValueError, match=r"`hand_pose` must hold 15 rotations, .*PCA coefficients are not supported"
        ):
            import_mano_hands([{**hand, "pred_mano_params": params}])

    def test_people(self, hand):
        with pytest.raises(ValueError, match="`people` must hold at least one person"):
            import_mano_hands([])
        with pytest.raises(ValueError, match=r"`people\[0\]` has two (left|right) hands"):
            import_mano_hands([[hand, hand]])
        with pytest.raises(ValueError, match="row 1 has none"):
            import_mano_hands([hand, []])
