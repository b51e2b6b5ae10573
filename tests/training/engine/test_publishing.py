"""The card of a run and its loss curve."""

import json

import numpy as np
import pytest
from PIL import Image

from diffusers_handiffuser.training.engine.options import DataOptions
from diffusers_handiffuser.training.engine.publishing import card_facts, draw_curve, read_losses


def test_loss_curve_takes_a_step_as_it_was_taken_last(tmp_path):
    lines = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 3, "loss": 9.0},
             {"step": 2, "resumed_from": "checkpoint-2"}, {"step": 2, "validation_mse": 1.0},
             {"step": 4, "loss": 1.0}]  # fmt: skip
    (tmp_path / "log.jsonl").write_text('{"step": 0, "lo\n' + "\n".join(map(json.dumps, lines)) + "\n")
    losses = read_losses(tmp_path / "log.jsonl")
    assert losses == {1: 4.0, 2: 3.0, 4: 1.0}
    draw_curve(losses, tmp_path / "curve.png")
    curve = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB")).astype(int)
    blue = np.argwhere((curve[..., 2] > 150) & (curve[..., 0] < 100))
    left, right = blue[blue[:, 1].argmin()], blue[blue[:, 1].argmax()]
    assert curve.shape == (320, 640, 3)
    assert left[0] < 50 and right[0] > 200  # falls from the upper left to the lower right


@pytest.mark.parametrize("token", [("--hub_token", "secret"), ("--hub_token=secret",), ("--hub_t", "secret")])
def test_token_stays_out_of_the_card(token):
    facts = card_facts("vae", ["--seed", "3", *token, "--rank", "2"], DataOptions(dataset_name="someone/hands"))
    assert facts["command"] == "python -m diffusers_handiffuser.training.vae --seed 3 --rank 2"
    assert "huggingface.co/datasets/someone/hands" in facts["training_data"]
