"""experiments/repair_proof.py: what it draws, which hand it looks at, and what it counts."""

import argparse
import random

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.repair import RepairedHand, RepairOutput
from diffusers_handiffuser.studio import DEFECTS, Studio, draw_pairs, sample_defect, sample_scene


@pytest.fixture(scope="module")
def studio():
    return Studio(size=128)


def test_rows_have_all_defects_in_turn_and_then_none(studio):
    from repair_proof import draw_row

    pixels, _, side, kind, truth = draw_row(studio, 0, 7)
    good, _, _, none, _ = draw_row(studio, 0, 0)
    assert (kind, none) == (DEFECTS[0], None) and (pixels != good).any()
    assert truth.hand_visible[0].tolist() == [side == "left", side == "right"]


def test_a_perfect_repair_is_seen_as_one(studio, tmp_path):
    from repair_proof import run_row, summary

    scene = sample_scene(0, "test", 0)
    pair = draw_pairs(studio, [scene], [sample_defect(scene, random.Random(0), DEFECTS[0])])
    good = (pair.good[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()

    def repair(pixels, caption, row):
        mask = Image.fromarray((pair.mask[0].numpy() * 255).astype(np.uint8))
        side = torch.zeros(1, 2, dtype=torch.bool)
        side[0, ("left", "right").index(pair.defects[0].side)] = True
        before = pair.hand_params.replace(hand_visible=side)
        hand = RepairedHand((0, 0, 9, 9), pair.defects[0].side, before, mask=mask, decision="repaired")
        return RepairOutput(Image.fromarray(good), [hand])

    (tmp_path / "images").mkdir()
    args = argparse.Namespace(num=7, output=tmp_path)
    row = run_row(0, args, studio, lambda crops: torch.full((1, 21, 2), 0.5), repair)
    assert row["decision"] == "repaired" and row["outside_equal"] and row["kind"] == DEFECTS[0]
    assert row["after"]["outline"] > row["before"]["outline"]
    assert (tmp_path / "images" / "0000.png").exists()
    counts = summary([row, {**row, "decision": "not_found", "outside_equal": False, "touched": False}])
    assert counts["found"]["value"] == counts["repaired"]["value"] == counts["outside bit-equal"]["value"] == 0.5
    assert counts["nearer by outline"]["value"] == 1 and counts["nearer by joint_error"]["value"] == 0


def test_another_hand_is_not_the_one_in_question(studio):
    from repair_proof import draw_row, hand_in_question

    *_, truth = draw_row(studio, 0, 7)
    hand = RepairedHand((0, 0, 9, 9), "left", truth)
    output = RepairOutput(Image.new("RGB", (128, 128)), [hand])
    assert hand_in_question(output, np.full((21, 2), 5.0) + np.linspace(0, 9, 21)[:, None], studio) is None
