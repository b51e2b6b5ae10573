"""Training and scoring the judge of hands, without a detector."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusers_handiffuser.repair import HandJudgement
from diffusers_handiffuser.repair.defect_network import HandDefectNetwork
from diffusers_handiffuser.studio.defects import DEFECTS

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module", autouse=True)
def tools_on_the_path():
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


def made_up_views(number):
    """Hands of a flat colour; the defective ones have a white square, where their images differ."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(number) % 2
    near = torch.randint(60, 120, (number, 6, 1, 1), generator=generator).expand(-1, -1, 88, 88).clone()
    difference = torch.zeros(number, 1, 88, 88)
    near[label == 1, :3, 30:50, 30:50] = 255
    difference[label == 1, :, 30:50, 30:50] = 150
    return {
        "near": near.byte(),
        "wide": torch.full((number, 4, 64, 64), 90, dtype=torch.uint8),
        "difference": difference.byte(),
        "signs": torch.zeros(number, 8),
        "label": label * (1 + DEFECTS.index("blurred")),
    }


def test_training_learns_what_differs(monkeypatch):
    import train_judge

    torch.manual_seed(0)
    monkeypatch.setattr(train_judge, "BATCH", 16)
    network, views = HandDefectNetwork(kinds=DEFECTS), made_up_views(40)
    train_judge.start_from_features(network)
    assert train_judge.train(network, views, 0, max_steps=25) == 25
    bad, _ = train_judge.predict(network, views)
    assert bad[views["label"] > 0].mean() > bad[views["label"] == 0].mean() + 0.1
    train_judge.calibrate(network, views)
    left_alone = bad[views["label"] == 0] < network.config.threshold
    assert left_alone.float().mean() >= 0.9


def test_a_defect_that_cannot_be_seen_is_not_learned_from():
    import train_judge

    views = made_up_views(4)
    views["difference"][1] = 0
    assert train_judge.learnable(views).tolist() == [0, 2, 3]


def test_missed_hands_are_not_flagged():
    import judged_hands
    import score_judge

    image = np.zeros((8, 8, 3), np.uint8)
    kind = 1 + DEFECTS.index("too_long")
    images = [judged_hands.StudioImage(image, image, None, kinds) for kinds in ((0, 0), (0, kind), (kind, 0))]
    found = [judged_hands.FoundHand(number, side, None, None) for number, side in ((0, 0), (0, 1), (1, 1))]
    scores = score_judge.Scores()
    scores.add(lambda *_: HandJudgement(True, "why"), images, found, [(2, 0)])
    counts = scores.counts()
    assert counts["good"] == (2, 2, 2) and counts["too_long"] == counts["defective"] == (2, 1, 1)
    assert scores.reasons == {"why": 2}


def test_intervals_are_wilsons():
    import score_judge

    low, high = score_judge.wilson(196, 200)
    assert (low, high) == pytest.approx((0.9497, 0.9922), abs=2e-4)
    assert score_judge.wilson(0, 0) == (0.0, 1.0)
