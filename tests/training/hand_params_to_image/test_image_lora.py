"""`--train_method lora`: what is trained, what is written, and how it is loaded."""

import copy
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stage_2 import train

from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder
from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.training.hand_params_to_image.lora import HAND_MODULES, add_lora

LORA = ("--train_method", "lora", "--rank", 2)


def draw(pipe, hands) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipe("a fist", hand_params=hands, generator=generator, num_inference_steps=2, output_type="np").images


def test_only_lora_and_hand_modules_are_trained(picture_components, hand_components):
    unet, encoder = (copy.deepcopy(m) for m in (picture_components["unet"], hand_components["text_encoder"]))
    add_lora(unet, encoder, rank=2)
    assert all(p.requires_grad == ("lora_" in name) for name, p in unet.named_parameters())
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or name.startswith(HAND_MODULES)), name
    ranks = {p.shape[0] for name, p in unet.named_parameters() if "lora_A" in name}
    assert ranks == {2}


def test_trains_resumes_and_loads_as_lora(data_dir, sd_dir, tmp_path, same_tree, clip_text_model):
    options = ("--pretrained_model_name_or_path", sd_dir, *LORA, "--use_ema", "--ema_decay", 0.5,
               "--joint_loss_weight", 0.1)  # fmt: skip
    train(data_dir, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    train(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")
    assert {path.name for path in (tmp_path / "whole/checkpoint-4/unet").iterdir()} == {"trained.safetensors"}

    out = tmp_path / "whole"
    encoder = TextHandEncoder.from_pretrained(out / "text_encoder")
    for name, value in clip_text_model.state_dict().items():
        assert torch.equal(encoder.state_dict()["text_model." + name.removeprefix("text_model.")], value), name
    averaged = load_file(out / "checkpoint-4/text_encoder_ema/trained.safetensors")
    assert torch.equal(encoder.null_embedding.weight, averaged["null_embedding.weight"])

    hands = HandDataset(data_dir).hand_params[:1]
    pipe = HanDiffuserPipeline.from_stable_diffusion(sd_dir, text_encoder=encoder)
    before = draw(pipe, hands)
    pipe.load_lora_weights(out)
    assert not np.array_equal(draw(pipe, hands), before)
    layers = load_file(out / "pytorch_lora_weights.safetensors")
    for name, value in load_file(out / "checkpoint-4/unet_ema/trained.safetensors").items():
        stored = name.replace("lora_A.default", "lora.down").replace("lora_B.default", "lora.up")
        assert torch.equal(layers[f"unet.{stored}"], value), name
    assert any(name.startswith("text_encoder.text_model.") for name in layers)


def test_the_code_on_its_card_runs(data_dir, sd_dir, tmp_path):
    out = tmp_path / "out"
    train(data_dir, out, "--pretrained_model_name_or_path", sd_dir, *LORA, "--max_train_steps", 1)
    card = (out / "README.md").read_text()
    assert str(tmp_path) not in card and "--train_method lora --rank 2" in card and "LoRA of rank 2" in card
    code = card.split("```python\n")[1].split("```")[0]
    assert "from_stable_diffusion(" in code
    names = {}
    exec(code.replace("path/or/hub-id", str(out)).replace("path/to/the/base/model", str(sd_dir)), names)
    assert names["pipe"].get_active_adapters()


def test_merged_pipeline_draws_what_base_and_lora_draw(data_dir, sd_dir, tmp_path):
    options = ("--pretrained_model_name_or_path", sd_dir, *LORA, "--mixed_precision", "bf16", "--merge_lora",
               "--gradient_checkpointing", "--max_train_steps", 2)  # fmt: skip
    train(data_dir, tmp_path / "out", *options)
    merged = HanDiffuserPipeline.from_pretrained(tmp_path / "out")
    assert not any("lora" in name for name in merged.unet.state_dict())
    hands = HandDataset(data_dir).hand_params[:1]
    base = HanDiffuserPipeline.from_stable_diffusion(sd_dir, text_encoder=copy.deepcopy(merged.text_encoder))
    base.scheduler = merged.scheduler
    untouched = copy.deepcopy(base.unet.state_dict())  # the training's U-Net was rounded to bf16, the merged one not
    name = "conv_in.weight"
    assert torch.equal(untouched[name], merged.unet.state_dict()[name])
    without = draw(base, hands)
    base.text_encoder = TextHandEncoder.from_clip(base_clip(sd_dir), num_basis_points=16, hand_hidden_size=16)
    load_hand_modules(base.text_encoder, merged.text_encoder)
    base.load_lora_weights(tmp_path / "out/lora")
    with_lora = draw(base, hands)
    assert np.abs(with_lora - draw(merged, hands)).max() < 1e-4 < np.abs(with_lora - without).max()


def base_clip(sd_dir):
    from transformers import CLIPTextModel

    return CLIPTextModel.from_pretrained(sd_dir, subfolder="text_encoder")


def load_hand_modules(encoder, source) -> None:
    for name in HAND_MODULES:
        getattr(encoder, name).load_state_dict(getattr(source, name).state_dict())


def test_checkpoint_of_another_rank_is_refused(data_dir, sd_dir, tmp_path):
    base = ("--pretrained_model_name_or_path", sd_dir)
    train(data_dir, tmp_path / "out", *base, "--train_method", "lora", "--max_train_steps", 2)
    with pytest.raises((ValueError, RuntimeError)):
        train(data_dir, tmp_path / "out", *base, *LORA, "--resume_from_checkpoint", "latest")


def test_options_that_cannot_work_are_refused(data_dir, sd_dir, vae_dir, tokenizer_dir, tmp_path, capsys):
    nothing = ("--pretrained_vae_model_name_or_path", vae_dir, "--tokenizer_name", tokenizer_dir)
    base = ("--pretrained_model_name_or_path", sd_dir)
    for options, named in (
        ((*nothing, *LORA), "--train_method lora needs --pretrained_model_name_or_path"),
        ((*base, "--merge_lora"), "--merge_lora needs --train_method lora"),
        (
            ("--pretrained_model_name_or_path", sd_dir, "--train_method", "lora", "--rank", 0),
            "--rank must be at least",
        ),
    ):
        with pytest.raises(SystemExit):
            train(data_dir, tmp_path / "out", *options)
        assert named in capsys.readouterr().err


def test_without_peft_it_is_said_how_to_get_it(monkeypatch, picture_components, hand_components):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"`train_method` lora needs peft: pip install"):
        add_lora(picture_components["unet"], hand_components["text_encoder"], 2)


def test_log_tells_loss_and_trained_parameters(data_dir, sd_dir, tmp_path):
    train(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", sd_dir, *LORA, "--max_train_steps", 1)
    lines = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert {"loss", "mse", "grad_norm", "lr"} <= lines[0].keys()
    assert "| trained parameters | " in (tmp_path / "out/README.md").read_text()
