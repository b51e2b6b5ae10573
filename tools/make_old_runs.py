"""Writes `tests/fixtures/runs_593c802`: half-done training runs of an earlier version, and what became of them.

    git worktree add --detach ../earlier 593c802
    PYTHONPATH=../earlier/src python tools/make_old_runs.py    # refused where there are some; see --force

Whoever trains for days must be able to go on with a newer version. So each program of `diffusers_handiffuser.training`
was run once with the sources of commit 593c802 and the oldest libraries that it allows (newer ones read what older
ones wrote, not the other way round), and every later version has to continue these runs and end with the same weights.
The models are tiny, and the checkpoint in `tests/fixtures/contract` is what they start from. Where 593c802 itself came
to from the same checkpoints is stored beside them: the results, and the log of the further steps.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
FOLDER = FIXTURES / "runs_593c802"
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "tokenizers", "safetensors", "numpy")
NUM_ROWS, SIZE = 10, 16
COMMON = (
    *("--train_data_dir", "data", "--output_dir", "out", "--use_cpu", "--num_threads", "1"),
    *("--max_train_steps", "4", "--checkpointing_steps", "2", "--logging_steps", "1", "--train_batch_size", "2"),
    *("--learning_rate", "3e-3", "--adam_epsilon", "1e-4"),  # Adam's own makes steps of what rounding leaves of zero
)
SMALL_ENCODER = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hand_hidden_size": 8,
    "num_basis_points": 8,
    "num_position_bins": 64,
}
SMALL_UNET = {
    "block_out_channels": [4, 4],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 2,
    "norm_num_groups": 2,
}

RUNS = {
    "text_to_hand_params": {
        "program": "text_to_hand_params",
        "results": ["text_to_hand_params", "hand_text_encoder"],
        "options": (
            *("--tokenizer_name", "pipeline/hand_tokenizer", "--train_text_encoder", "--num_validation_rows", "2"),
            *(
                "--text_encoder_config",
                '{"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}',
            ),
            *("--model_config", '{"hidden_size": 8, "num_layers": 1, "num_attention_heads": 2}'),
            *("--lr_scheduler", "cosine", "--lr_warmup_steps", "1", "--snr_gamma", "5"),
            *("--gradient_accumulation_steps", "2", "--use_ema", "--random_flip", "--num_hand_inference_steps", "2"),
        ),
    },
    "hand_params_to_image": {
        "program": "hand_params_to_image",
        "results": ["unet", "text_encoder"],
        "options": (
            *("--pretrained_vae_model_name_or_path", "pipeline", "--tokenizer_name", "pipeline/tokenizer"),
            *("--unet_config", json.dumps(SMALL_UNET), "--text_encoder_config", json.dumps(SMALL_ENCODER)),
            *("--resolution", str(SIZE), "--streaming", "--shuffle_buffer", "4", "--random_flip", "--use_ema"),
            *("--lr_warmup_steps", "0", "--balance_timesteps", "--hand_loss_weight", "1"),
            *("--joint_loss_weight", "0.1", "--palm_loss_weight", "0.05", "--joint_jitter", "0.02"),
            *("--timestep_bias_strategy", "later", "--timestep_bias_multiplier", "2", "--noise_offset", "0.05"),
            *("--prediction_type", "v_prediction", "--rescale_betas_zero_snr", "--beta_schedule", "linear"),
        ),
    },
    "lora": {
        "program": "hand_params_to_image",
        "results": ["", "text_encoder"],
        "options": (
            *("--pretrained_model_name_or_path", "pipeline", "--train_method", "lora", "--rank", "2"),
            *("--resolution", str(SIZE), "--random_flip", "--use_ema", "--num_validation_rows", "2"),
            *("--lr_warmup_steps", "0", "--snr_gamma", "5", "--joint_loss_weight", "0.1"),
            *("--num_validation_images", "2", "--default_num_inference_steps", "2"),
        ),
    },
    "vae": {
        "program": "vae",
        "results": ["vae"],
        "options": (
            *("--vae_config", '{"block_out_channels": [4, 4], "norm_num_groups": 2}', "--resolution", str(SIZE)),
            *("--random_crop", "8", "--random_flip", "--trunk_steps", "3", "--use_ema", "--latent_noise", "0.1"),
            *("--lr_warmup_steps", "1", "--num_validation_rows", "2"),
        ),
    },
    "text_hand_encoder": {
        "program": "text_hand_encoder",
        "results": ["text_encoder"],
        "options": (
            *("--pretrained_vae_model_name_or_path", "pipeline/vae", "--tokenizer_name", "pipeline/tokenizer"),
            *("--text_encoder_config", json.dumps(SMALL_ENCODER), "--resolution", str(SIZE), "--grid", "4"),
            *("--patch", "1", "--random_flip", "--lr_warmup_steps", "0"),
            *("--num_validation_rows", "2"),
        ),
    },
}
TOKENIZER = ["--train_data_dir", "data", "--output_dir", "tokenizer", "--num_merges", "24"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--force", action="store_true", help="replace the runs that are there")
    options = parser.parse_args(arguments)
    if options.folder.exists() and not options.force:
        print(f"{options.folder} holds runs already, which are to be continued for ever; see --force", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        write_data(made / "data")
        manifest = {
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            "runs": {name: make_run(name, made, Path(scratch) / name) for name in RUNS},
            "tokenizer": {"program": "tokenizer", "command": TOKENIZER},
        }
        call("tokenizer", TOKENIZER, made)
        for file in (made / "tokenizer").iterdir():
            if file.name not in ("vocab.json", "merges.txt"):
                file.unlink()
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(options.folder, ignore_errors=True)
        shutil.copytree(made, options.folder)
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 1e3:.0f} kB")
    return 0


def write_data(folder: Path) -> None:
    """Rows with random hands and blurred noise for images."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(NUM_ROWS):
        rng = np.random.default_rng(number)
        pixels = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        pixels.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / f"images/{number}.png")
        side, shape = ("left", "right")[number % 2], ("fist", "open hand", "peace sign")[number % 3]
        row = {
            "file_name": f"images/{number}.png",
            "text": f"a {side} hand making {'an' if shape[0] == 'o' else 'a'} {shape}",
            "global_orient": [3.1416, 0.0, 0.0],
            "body_pose": rng.normal(0, 0.1, 63).round(4).tolist(),
            "left_hand_pose": rng.normal(0, 0.3, 45).round(4).tolist(),
            "right_hand_pose": rng.normal(0, 0.3, 45).round(4).tolist(),
            "betas": rng.normal(0, 1, 10).round(4).tolist(),
            "camera": [1.2, 0.1, -0.2],
            "hand_visible": [number % 2 == 0, number % 3 > 0],
            "source": "test",
            "crop": None,
        }
        lines.append(json.dumps(row) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines))


def make_run(name: str, made: Path, scratch: Path) -> dict:
    """Trains four steps, keeps the checkpoint of the second, and continues it; returns what the manifest tells."""
    run = RUNS[name]
    command = [*COMMON, *run["options"]]
    whole, stopped, continued = scratch / "whole", made / "runs" / name, scratch / "continued"
    set_up(whole, made)
    call(run["program"], [*command, "--report_to", "tensorboard"], whole)
    shutil.copytree(whole / "out" / "checkpoint-2", stopped / "checkpoint-2")
    lines = (whole / "out" / "log.jsonl").read_text().splitlines(keepends=True)
    (stopped / "log.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 2))
    (saved_options,) = (whole / "out" / "logs").rglob("hparams.yml")

    set_up(continued, made)
    shutil.copytree(stopped, continued / "out")
    call(run["program"], [*command, "--resume_from_checkpoint", "latest"], continued)
    results = read_results(continued / "out", run["results"])
    uninterrupted = read_results(whole / "out", run["results"])
    assert all(results[key].equal(uninterrupted[key]) for key in results | uninterrupted), name
    (made / "expected").mkdir(exist_ok=True)
    save_file(results, made / "expected" / f"{name}.safetensors")
    return {
        "program": run["program"],
        "command": command,
        "options": yaml.safe_load(saved_options.read_text()),
        "results": run["results"],
        "log": read_log(continued / "out"),
    }


def set_up(folder: Path, made: Path) -> None:
    """A folder to train in, with the data and what models start from."""
    shutil.copytree(made / "data", folder / "data")
    shutil.copytree(FIXTURES / "contract" / "pipeline", folder / "pipeline")


def call(program: str, arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", f"diffusers_handiffuser.training.{program}", *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True)


def read_results(output: Path, folders: list[str]) -> dict:
    """The weights in some folders of a run's output, by folder and name."""
    return {
        f"{folder}/{name.removeprefix('text_model.') if folder == 'hand_text_encoder' else name}": tensor
        for folder in folders
        for file in sorted((output / folder).glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def read_log(output: Path) -> list[dict]:
    """The numbers that a run's log tells of the third and fourth step."""
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    numbers = [line for line in lines if all(isinstance(value, (int, float)) for value in line.values())]
    return [line for line in numbers if line["step"] > 2]


if __name__ == "__main__":
    sys.exit(main())
