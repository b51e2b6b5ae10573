import sys

import pytest
import torch

from diffusers_handiffuser.command_line import run_as_command
from diffusers_handiffuser.training import hand_params_to_image, text_to_hand_params, tokenizer


def test_bad_files_become_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["tokenizer", "--train_data_dir", str(tmp_path / "none"), "--output_dir", "out"])
    with pytest.raises(SystemExit) as exit_info:
        run_as_command(tokenizer.main)
    printed = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert printed.startswith("error: ") and "none" in printed and printed.count("\n") == 1

    sys.argv.append("--debug")
    with pytest.raises(FileNotFoundError):
        run_as_command(tokenizer.main)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["trainer"])
    with pytest.raises(ZeroDivisionError):
        run_as_command(broken)


def test_bad_row_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"text": "a hand"}\n')
    monkeypatch.setattr(
        sys,
        "argv",
        ["trainer", "--train_data_dir", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--max_train_steps", "1",
         "--tokenizer_name", str(tmp_path), "--train_text_encoder"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as exit_info:
        run_as_command(text_to_hand_params.main)
    assert exit_info.value.code == 2 and "metadata.jsonl, row 0" in capsys.readouterr().err


def test_timestep_bias():
    def chances(*options):
        args = hand_params_to_image.parse_args(
            ["--train_data_dir", "d", "--output_dir", "o", "--max_train_steps", "1", "--pretrained_model_name_or_path",
             "sd", *options]
        )  # fmt: skip
        cumulative = hand_params_to_image.timestep_chances(args, 1000)
        return cumulative.diff(prepend=torch.zeros(1))

    assert torch.allclose(chances(), torch.full((1000,), 1e-3), atol=1e-6)
    bias = ("--timestep_bias_multiplier", "4", "--timestep_bias_portion", "0.2")
    later = chances("--timestep_bias_strategy", "later", *bias)
    assert later[800:].sum().item() == pytest.approx(0.5, abs=1e-4)
    assert later[:800].max() < later[800:].min() and later.sum().item() == pytest.approx(1, abs=1e-5)
    earlier = chances("--timestep_bias_strategy", "earlier", *bias)
    assert torch.allclose(earlier, later.flip(0), atol=1e-6)
    with pytest.raises(SystemExit):
        chances("--timestep_bias_multiplier", "0")
