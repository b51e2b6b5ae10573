"""The model card that is saved with a pipeline: what it says, and when it is kept."""

import os
from pathlib import Path

import pytest
import yaml
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder
from diffusers_handiffuser.hub.model_card import (
    CARD_FACTS,
    TEMPLATE_FILE,
    render_model_card,
    training_facts,
    write_model_card,
)

FACTS = {
    "name": "someone/hands",
    "license": "creativeml-openrail-m",
    "base_model": "someone/stable-diffusion",
    "training_data": "Ten thousand pictures of the studio.",
    "command": "python -m diffusers_handiffuser.training.hand_params_to_image --max_train_steps 10",
    "limits": "Thumbs.",
}


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


class TestContent:
    def test_facts_are_told(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path, card=FACTS)
        card = card_of(tmp_path)
        assert all(fact in card for fact in FACTS.values())
        assert metadata(card) == {
            "license": "creativeml-openrail-m",
            "library_name": "diffusers",
            "pipeline_tag": "text-to-image",
            "base_model": "someone/stable-diffusion",
            "tags": ["diffusers", "handiffuser", "hands", "smpl-h"],
        }
        assert "The procedural body" in card and "Apache-2.0" in card
        assert "not given" not in card and "$" not in card

    def test_what_is_not_known_is_said(self, pipe):
        card = render_model_card(pipe)
        assert metadata(card)["license"] == "unknown" and "base_model" not in metadata(card)
        for heading in ("Base model", "Training data", "Training command", "Limits", "Licence"):
            section = card.split(f"## {heading}\n")[1].split("\n## ")[0]
            assert "not given" in section.lower(), heading

    def test_bodies(self, pipe, make_pipe):
        def body(**config) -> str:
            model = HandBodyModel.procedural()
            model.register_to_config(**config)
            return render_model_card(make_pipe(body_model=model))

        card = body(body="smplh", licensed=True, sha256="ab" * 32)
        assert "ab" * 32 in card and "not** part of" in card and "body_model=HandBodyModel.from_smplh(PATH)" in card
        assert "its licence was not given" in body(body="smplh")
        assert "None is stored" in render_model_card(make_pipe(body_model=None))

    def test_usage_runs(self, make_pipe, tmp_path):
        picture = dict.fromkeys(("vae", "text_encoder", "tokenizer", "unet", "scheduler"))
        for number, pipe in enumerate((make_pipe(), make_pipe(**picture))):
            folder = tmp_path / str(number)
            pipe.save_pretrained(folder, card={"name": str(folder)})
            code = card_of(folder).split("```python\n")[1].split("```")[0]
            names = {}
            exec(code, names)
            assert ("image" in names) == (number == 0) and ("hands" in names) == (number == 1)

    def test_model_alone(self, pipe):
        card = render_model_card(pipe.text_encoder, {"name": "someone/encoder"})
        assert 'TextHandEncoder.from_pretrained("someone/encoder")' in card
        assert "pipeline_tag" not in metadata(card) and "None belongs to this model" in card
        assert "procedural body" in render_model_card(pipe.body_model)

    def test_template_is_the_one_in_model_cards(self):
        template = Path(__file__).parents[2] / "model_cards" / "TEMPLATE.md"
        assert template.read_bytes() == TEMPLATE_FILE.read_bytes()

    @pytest.mark.parametrize(
        "facts, named",
        [({"licence": "x"}, "licence"), ({"limits": ""}, "limits"), ({"license": "a: b"}, "identifier")],
    )
    def test_bad_facts(self, pipe, tmp_path, facts, named):
        with pytest.raises((ValueError, TypeError), match=named):
            pipe.save_pretrained(tmp_path / "new", card=facts)
        assert not (tmp_path / "new").exists()
        assert named in CARD_FACTS or named in ("licence", "identifier")


class TestTrainingFacts:
    def test_base_models(self, tmp_path):
        folder = training_facts("vae", ["--seed", "3"], tmp_path / "data", str(tmp_path))
        assert folder["base_model"] == f"The pipeline in a folder `{tmp_path.name}`."
        assert folder["command"] == "python -m diffusers_handiffuser.training.vae --seed 3"
        assert training_facts("vae", [], "data", "someone/sd")["base_model"] == "someone/sd"

    def test_no_path_of_the_machine(self, pipe, tmp_path):
        facts = training_facts("vae", ["--output_dir", str(tmp_path / "my run")], tmp_path / "data", str(tmp_path))
        assert "--output_dir 'my run'" in facts["command"] and "`data`" in facts["training_data"]
        assert str(tmp_path) not in render_model_card(pipe, facts)

    def test_nor_in_other_spellings_of_an_option(self):
        arguments = ["--train_data_dir=/disk/someone/data", "--cache_dir", "../../someone/x", "--seed=3", "~/y", "a/b"]
        command = training_facts("vae", arguments, "data")["command"]
        assert "someone" not in command and "~" not in command
        assert "--train_data_dir=data --cache_dir x --seed=3 y a/b" in command


class TestKept:
    def test_is_never_overwritten(self, pipe, tmp_path):
        (tmp_path / "README.md").write_text("Mine.")
        pipe.save_pretrained(tmp_path, card=FACTS)
        assert card_of(tmp_path) == "Mine."

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_goes_along_with_the_weights(self, pipe, tmp_path, loader):
        pipe.save_pretrained(tmp_path / "a", card=FACTS)
        loader.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
        assert card_of(tmp_path / "b") == card_of(tmp_path / "a")
        loader.from_pretrained(tmp_path / "b").save_pretrained(tmp_path / "c", card={"limits": "All."})
        assert "All." in card_of(tmp_path / "c") and "Thumbs." not in card_of(tmp_path / "c")

    def test_does_not_go_along_with_other_weights(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path / "a", card=FACTS)
        tuned = HanDiffuserPipeline.from_pretrained(tmp_path / "a", text_encoder=pipe.text_encoder)
        tuned.save_pretrained(tmp_path / "b")
        assert "Thumbs." not in card_of(tmp_path / "b")

    def test_goes_along_with_a_licensed_body(self, make_pipe, tmp_path):
        body = HandBodyModel.procedural()
        body.register_to_config(licensed=True)
        make_pipe(body_model=body).save_pretrained(tmp_path / "a", card=FACTS)
        HanDiffuserPipeline.from_pretrained(tmp_path / "a", body_model=body).save_pretrained(tmp_path / "b")
        assert card_of(tmp_path / "b") == card_of(tmp_path / "a")

    def test_that_of_stable_diffusion_is_not_ours(self, picture_components, clip_text_model, pipe, tmp_path):
        sd = StableDiffusionPipeline(
            **picture_components,
            text_encoder=clip_text_model,
            scheduler=pipe.scheduler,
            safety_checker=None,
            requires_safety_checker=False,
        )
        sd.save_pretrained(tmp_path / "sd")
        (tmp_path / "sd" / "README.md").write_text("Of Stable Diffusion.")
        sd = StableDiffusionPipeline.from_pretrained(tmp_path / "sd")
        made = HanDiffuserPipeline.from_pipe(sd, text_encoder=TextHandEncoder.from_clip(sd.text_encoder))
        made.save_pretrained(tmp_path / "ours")
        assert "HanDiffuser" in card_of(tmp_path / "ours")

    def test_no_trace_of_the_machine(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path / "a")
        HanDiffuserPipeline.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
        for path in tmp_path.rglob("*"):
            assert path.is_dir() or os.fsencode(tmp_path) not in path.read_bytes(), path
        write_model_card(tmp_path / "c", pipe)
        assert card_of(tmp_path / "c") == card_of(tmp_path / "b")
