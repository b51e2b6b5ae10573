import pytest
import torch

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.evaluation import limit_violations, read_rows, side_consistency
from diffusers_handiffuser.evaluation.metrics.hand_checks import named_sides, parameter_features
from diffusers_handiffuser.evaluation.rows import stack_hands
from diffusers_handiffuser.studio import make_dataset


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = make_dataset(tmp_path_factory.mktemp("data"), 60, images=False, progress=False)
    return [row.columns for row in read_rows(path.parent)]


@pytest.fixture(scope="module")
def hands(rows):
    return stack_hands(rows)


def bent(joint, *angles):
    """A right hand with one of its 15 joints turned."""
    pose = torch.zeros(1, 45)
    pose[0, 3 * joint : 3 * joint + 3] = torch.tensor(angles)
    return HandParams.zeros(1).replace(right_hand_pose=pose, hand_visible=torch.tensor([[False, True]]))


class TestLimits:
    def test_the_studios_hands_keep_them(self, hands):
        assert limit_violations(hands).nansum() == 0

    def test_wild_hands_do_not(self, hands):
        generator = torch.Generator().manual_seed(0)
        wild = hands.replace(
            left_hand_pose=torch.randn(len(hands), 45, generator=generator),
            right_hand_pose=torch.randn(len(hands), 45, generator=generator),
        )
        assert limit_violations(wild).nanmean() > 0.5

    @pytest.mark.parametrize(
        "joint, angles, allowed",
        [
            (0, (0.0, 0.0, 1.5), True),  # a knuckle, towards the palm
            (0, (0.0, 0.0, -1.0), False),  # and backwards
            (1, (0.0, 0.0, 2.0), True),
            (1, (0.0, 0.6, 0.0), False),  # only knuckles spread
            (2, (0.5, 0.0, 0.0), False),  # no finger twists
            (12, (0.8, 0.5, 0.3), True),  # the thumb
        ],
    )
    def test_one_joint(self, joint, angles, allowed):
        hand = bent(joint, *angles)
        assert limit_violations(hand).item() == pytest.approx(0 if allowed else 1 / 15)
        assert limit_violations(hand.mirror()).item() == pytest.approx(0 if allowed else 1 / 15)

    def test_hands_that_are_not_seen_are_not_judged(self):
        hand = bent(0, 0.0, 0.0, -1.0)
        assert limit_violations(hand.replace(hand_visible=torch.tensor([[False, False]]))).isnan().all()
        assert limit_violations(hand.replace(hand_visible=torch.tensor([[True, False]]))).item() == 0


class TestSides:
    @pytest.mark.parametrize(
        "text, sides",
        [
            ("a Left hand making a fist, lit from the right", (True, False)),
            ("someone waving with the right hand", (False, True)),
            ("a left hand making a fist and a right hand making a peace sign", (True, True)),
            ("both hands making a fist", (True, True)),
            ("a pair of hands", (True, True)),
            ("his right closed fist", (False, True)),
            ("a hand, with light from the left", None),
            ("the right handle of a door", None),
        ],
    )
    def test_named(self, text, sides):
        assert named_sides(text) == sides

    def test_the_studio_agrees_with_itself(self, hands, rows):
        texts = [row["text"] for row in rows]
        agreed = side_consistency(hands, texts)
        assert agreed[~agreed.isnan()].mean() > 0.95 and agreed.isnan().double().mean() < 0.2
        mirrored = side_consistency(hands.mirror(), texts)
        one_hand = hands.hand_visible.sum(-1) == 1
        assert mirrored[one_hand & ~mirrored.isnan()].sum() == 0


def test_parameter_features_do_not_know_sides(hands):
    features, rows = parameter_features(hands)
    assert features.shape == (int(hands.hand_visible.sum()), 90)
    assert torch.equal(rows, hands.hand_visible.nonzero()[:, 0])
    mirrored, _ = parameter_features(hands.mirror())
    one = hands.hand_visible.sum(-1) == 1
    kept = one[rows]
    assert torch.allclose(features[kept], mirrored[kept], atol=1e-5)
