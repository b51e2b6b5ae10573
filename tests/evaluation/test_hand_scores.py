"""`evaluate_hands`: the scores of sampled hands, without images."""

import pytest
import torch

from diffusers_handiffuser.evaluation import evaluate, evaluate_hands, read_rows
from diffusers_handiffuser.studio import make_dataset


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return read_rows(make_dataset(tmp_path_factory.mktemp("data"), 24, "test", size=64, progress=False).parent)


def test_the_data_themselves(rows):
    report = evaluate_hands(None, rows)
    stage_1, caption = report.estimates["stage_1"], report.estimates["caption"]
    assert stage_1["visibility"].value == 1 and stage_1["parameter_fid"].value == pytest.approx(0, abs=1e-6)
    assert caption["fingers"].value == 1 and caption["fingers"].n == 24 and caption["view"].value > 0.9
    assert report.estimates["caption_of_data"] == caption
    assert report.estimates["fingers_by_gesture"] == report.estimates["fingers_by_gesture_of_data"]
    assert report.settings["pipeline"] is None and report.settings["samples"] == 1


def test_sampled_hands_are_those_that_evaluate_draws(pipe, rows):
    alone = evaluate_hands(pipe, rows[:4], samples=2, seed=3, batch_size=3)
    drawn = evaluate(pipe, rows[:4], samples=2, seed=3, batch_size=2)
    sections = ("stage_1", "caption", "caption_of_data", "fingers_by_gesture", "fingers_by_gesture_of_data")
    assert set(alone.estimates) == set(sections)
    for section in sections:
        assert set(alone.estimates[section]) == set(drawn.estimates[section]), section
    assert torch.allclose(alone.features["parameters"][0], drawn.features["parameters"][0], atol=1e-4)
    assert alone.cases["caption/number"] == drawn.cases["caption/number"]
    assert alone.estimates["caption_of_data"]["fingers"].value == 1 and alone.grid is None


def test_captions_without_scenes(pipe, rows):
    plain = [type(row)("a left hand, palm facing the camera", row.fields, None, row.where, {}) for row in rows[:2]]
    report = evaluate_hands(pipe, plain, samples=1)
    assert "the rows have no `scene`" in next(iter(report.absent.values()))
    assert "gesture" not in report.estimates["stage_1"] and "fingers" not in report.estimates["caption"]
    assert {"side", "view", "number"} <= set(report.estimates["caption"])


def test_arguments_and_progress(pipe, rows):
    done = []
    steps = [
        evaluate_hands(pipe, rows[:3], 1, batch_size=2, num_hand_inference_steps=n, progress=done.append)
        for n in (1, 3)
    ]
    assert steps[0].features["parameters"][0].ne(steps[1].features["parameters"][0]).any()
    assert steps[1].settings["arguments"] == {"num_hand_inference_steps": 3} and done == [2, 3, 2, 3]


def test_bad_input(pipe, text_only_pipe, rows):
    with pytest.raises(ValueError, match="`rows` must hold at least one row"):
        evaluate_hands(pipe, [])
    with pytest.raises(ValueError, match="`samples` must be at least 1, got 0"):
        evaluate_hands(pipe, rows, samples=0)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        evaluate_hands(pipe, rows, batch_size=0)
    with pytest.raises(ValueError, match="HanDiffuserPipeline has no stage 1"):
        evaluate_hands(text_only_pipe, rows)


def test_natural_sentences_are_scored_by_their_claims(tmp_path):
    make_dataset(tmp_path, 48, images=False, progress=False, language="natural", turned=0.5)
    caption = evaluate_hands(None, read_rows(tmp_path)).estimates["caption"]
    assert {"fingers", "side", "view", "turn_fingers_down", "turn_fingers_sideways"} <= set(caption)
    assert min(caption[name].value for name in ("fingers", "side", "number", "turn")) > 0.95


def test_rows_without_hands(tmp_path):
    data = make_dataset(tmp_path, 16, "test", size=64, images=False, progress=False, handless=0.5)
    rows = read_rows(data.parent)
    handless = sum(not row.columns["scene"]["gestures"] for row in rows)
    assert 0 < handless < 16
    report = evaluate_hands(None, rows)
    assert report.estimates["stage_1"]["gesture"].n == 16 - handless
    assert report.estimates["caption"]["no_hands"].value == 1 and report.estimates["caption"]["no_hands"].n == handless
