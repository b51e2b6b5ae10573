"""The small feature network: what comes with the package, its training, feature networks by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from diffusers_handiffuser.evaluation import (
    FeatureNetwork,
    StudioFeatureNetwork,
    judge_hands,
    load_features,
    read_rows,
)
from diffusers_handiffuser.evaluation.judges.studio_judge import GESTURE_NAMES, HEADS, STUDIO_FEATURES
from diffusers_handiffuser.evaluation.train_features import augment, main, naming_loss, read_examples
from diffusers_handiffuser.studio import GESTURES, make_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 24, "test", size=64, progress=False).parent


@pytest.fixture(scope="module")
def bundled():
    return StudioFeatureNetwork.bundled()


class TestBundled:
    def test_small_and_half(self):
        assert sum(path.stat().st_size for path in STUDIO_FEATURES.iterdir()) <= 5e6
        (path,) = STUDIO_FEATURES.glob("*.safetensors")
        with safe_open(path, framework="pt") as file:
            assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16", "I64"}

    def test_loads_as_float_and_frozen_in_mode(self, bundled):
        assert bundled.dtype == torch.float32 and not bundled.training
        assert bundled.heads["gesture"].out_features == len(GESTURE_NAMES) == len(GESTURES) + 32

    def test_its_stated_accuracy_holds_on_new_rows(self, bundled, folder):
        stated = json.loads((STUDIO_FEATURES / "accuracy.json").read_text())["accuracy"]
        assert stated["side"]["n"] >= 200 and stated["finger_count"]["low"] > 0.3
        images, labels = read_examples(read_rows(folder), 64)
        with torch.no_grad():
            logits = bundled.logits(bundled(images))
        told = labels["side"] >= 0
        right = (logits["side"].argmax(-1) == labels["side"])[told].float().mean()
        background = (logits["background"].argmax(-1) == labels["background"]).float().mean()
        assert right > stated["side"]["low"] - 0.2 and background > stated["background"]["low"] - 0.2

    def test_does_not_mind_size_or_kind_of_numbers(self, bundled):
        slope = torch.linspace(0, 255, 64)
        images = torch.stack([slope.expand(64, 64), slope.flip(0).expand(64, 64).T, slope.expand(64, 64).T])
        images = images.to(torch.uint8)[:, None].expand(3, 3, 64, 64).contiguous()
        with torch.no_grad():
            features = bundled(images)
            assert torch.allclose(bundled(images / 255), features, atol=1e-4)
            large = images.repeat_interleave(2, -1).repeat_interleave(2, -2)
            assert (bundled(large) - features).norm() < 0.1 * features.norm()
        with pytest.raises(ValueError, match="`images`"):
            bundled(images[0])

    def test_judges_hands(self, bundled, folder):
        crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
        said = judge_hands(bundled, crops)
        assert set(said) == {"side", "fingers", "gesture"} and all(values.shape == (2,) for values in said.values())
        assert said["fingers"].max() <= 5


class TestTraining:
    def test_examples_and_their_names(self, folder):
        rows = read_rows(folder)
        images, labels = read_examples(rows, 32, room=1.25)
        hands = sum(sum(row.columns["hand_visible"]) for row in rows)
        assert images.shape == (len(rows) + hands, 3, 40, 40) and images.dtype == torch.uint8
        assert set(labels) == set(HEADS) and {len(values) for values in labels.values()} == {len(images)}
        first = rows[0].columns["scene"]
        name = next(iter(first["gestures"].values()))
        assert labels["gesture"][0] == -1 and GESTURE_NAMES[labels["gesture"][len(rows)]] == name
        assert (labels["kind"][: len(rows)] >= 0).all() and (labels["kind"][len(rows) :] == -1).all()

    def test_mirrored_hands_change_sides(self):
        images = torch.arange(16, dtype=torch.uint8).expand(64, 3, 16, 16)
        labels = {"side": torch.zeros(64, dtype=torch.long), "raised": torch.tensor([[1, 0]]).expand(64, 2)}
        cut, changed = augment(images, labels, 12, torch.Generator().manual_seed(0))
        mirrored = cut[:, 0, 0, 0] > cut[:, 0, 0, 1]
        assert 0.2 < mirrored.float().mean() < 0.8
        assert torch.equal(changed["side"] == 1, mirrored) and torch.equal(changed["raised"][:, 1] == 1, mirrored)

    def test_what_is_not_told_does_not_count(self):
        network = StudioFeatureNetwork(16, (4, 8))
        logits = network.logits(network(torch.rand(2, 3, 16, 16)))
        labels = {n: torch.full((2, 5) if n == "fingers" else (2, 2) if n == "raised" else (2,), -1) for n in HEADS}
        assert naming_loss(logits, labels) == 0
        labels["side"] = torch.tensor([1, -1])
        loss = naming_loss(logits, labels)
        assert torch.allclose(loss, nn.functional.cross_entropy(logits["side"][:1], torch.tensor([1])))

    def test_command(self, folder, tmp_path, capsys):
        arguments = ["--data", folder, "--held_out", folder, "--output", tmp_path / "out", "--input_size", 16]
        main([str(a) for a in (*arguments, "--max_train_steps", 3, "--train_batch_size", 8)])
        facts = json.loads((tmp_path / "out" / "accuracy.json").read_text())
        assert facts["steps"] == 3 and facts["accuracy"]["background"]["n"] == facts["examples"]
        assert facts["accuracy"]["gesture"]["low"] <= facts["accuracy"]["gesture"]["value"]
        again = StudioFeatureNetwork.from_pretrained(tmp_path / "out")
        assert again.input_size == 16 and "finger_count" in capsys.readouterr().out
        with pytest.raises(ValueError, match="--max_train_steps"):
            main([str(a) for a in arguments])


class TestByName:
    def test_studio(self):
        network = load_features("studio")
        images = torch.zeros(3, 40, 40, 3, dtype=torch.uint8)
        assert network(images, batch_size=2).shape == (3, 128) and network.crop_size == 64

    def test_any_callable(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("my_features.py").write_text(
            "import torch\ndef mean(p): return p.float().mean((2, 3))\nmodule = torch.nn.Flatten()"
        )
        images = torch.full((5, 4, 4, 3), 9, dtype=torch.uint8)
        assert torch.equal(load_features("my_features:mean")(images), torch.full((5, 3), 9.0))
        assert load_features("my_features:module")(images).shape == (5, 48)
        with pytest.raises(ValueError, match=r"must return \(5, D\)"):
            FeatureNetwork("wrong", lambda images: images)(images)
        with pytest.raises(ValueError, match=r"--features must be studio, inception, .*, none or MODULE:FUNCTION"):
            load_features("resnet")

    def test_inception_is_never_downloaded_nor_taken_for_another(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="weights-inception-2015-12-05-6726825d.pth"):
            load_features("inception")
        wrong = tmp_path / "resnet.pth"
        wrong.write_bytes(b"another network")
        with pytest.raises(ValueError, match="is not the FID network's"):
            load_features(str(wrong))
