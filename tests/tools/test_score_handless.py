"""tools/score_handless.py: which sentences it draws, what it counts, and that its sheets keep the secret."""

import json
import sys

import pytest
from PIL import Image

from diffusers_handiffuser.evaluation.sentences import read_sentences

pytestmark = pytest.mark.usefixtures("tools_on_path")


@pytest.fixture
def tools_on_path(monkeypatch, pytestconfig):
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath / "tools"))


def test_sentences():
    from score_handless import sentences

    without, with_hands = sentences(100)
    natural = {sentence.text: sentence.facts.number for sentence in read_sentences()}
    assert len(set(without)) == len(set(with_hands)) == 100
    assert sum(natural.get(text) == 0 for text in without) == sum(number == 0 for number in natural.values())
    assert all(natural[text] != 0 for text in with_hands)


def test_counts_and_sheets(tmp_path, monkeypatch):
    import score_handless

    monkeypatch.setattr(sys, "argv", ["score_handless.py", "-o", str(tmp_path), "--num", "2", "--batch-size", "2"])
    monkeypatch.setattr(score_handless, "draw", lambda pipe, texts, batch_size: (_grey(len(texts)), [True, False]))
    score_handless.main()
    report = json.loads((tmp_path / "report.json").read_text())
    assert [report[name]["stage 1 sampled hands"] for name in ("without", "with")] == [1, 1]
    assert "detector found hands" not in report["without"]
    key = json.loads((tmp_path / "key.json").read_text())
    assert sorted(key) == ["with_000", "with_001", "without_000", "without_001"]
    assert {file.name for file in tmp_path.glob("*.png")} == {"sheet_0.png", *(f"{name}.png" for name in key)}


def _grey(number):
    return [Image.new("RGB", (128, 128), (i, i, i)) for i in range(number)]
