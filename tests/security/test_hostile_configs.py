"""Configs of a hundred bytes that ask for models of any size."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from hostile import SOURCE, WEIGHTS, change_json, refused, safetensors
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from diffusers_handiffuser import (
    HanDiffuserPipeline,
    TextHandEncoder,
)
from diffusers_handiffuser.hub.checked_sizes import check_size

pytestmark = pytest.mark.usefixtures("canary")

LOAD_LIMITED = """
import json, logging, resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from diffusers_handiffuser import HanDiffuserPipeline
logging.disable(logging.ERROR)
folder = Path(sys.argv[2])
HanDiffuserPipeline.from_pretrained(folder)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
for file, changes in json.load(sys.stdin):
    whole = (folder / file).read_bytes()
    (folder / file).write_text(json.dumps({**json.loads(whole), **changes}))
    start = time.process_time()
    try:
        HanDiffuserPipeline.from_pretrained(folder)
        print("loaded")
    except (ValueError, OSError) as error:
        print(f"{time.process_time() - start:.3f} {error}")
    (folder / file).write_bytes(whole)
"""
MUCH = 2**24
LARGE = {
    "layers of a U-Net": ("unet/config.json", {"layers_per_block": MUCH}, "`unet` asks for a model much larger"),
    "layers of a U-Net in a list": ("unet/config.json", {"layers_per_block": [1, MUCH]}, "`unet` asks for"),
    "transformers in a U-Net": ("unet/config.json", {"transformer_layers_per_block": MUCH}, "`unet` asks for"),
    "transformers in lists": (
        "unet/config.json",
        {
            "transformer_layers_per_block": [[1], [10**5]],
            "reverse_transformer_layers_per_block": [[10**5] * 2, [1] * 2],
        },
        "`unet` asks for",
    ),
    "blocks of a U-Net": (
        "unet/config.json",
        {
            "block_out_channels": [8] * 10**4,
            "down_block_types": ["DownBlock2D"] * 10**4,
            "up_block_types": ["UpBlock2D"] * 10**4,
        },
        "`unet` asks for",
    ),
    "channels of a U-Net": ("unet/config.json", {"block_out_channels": [2**16, 2**16]}, "`unet` asks for"),
    "channels beyond all numbers": ("unet/config.json", {"block_out_channels": [8, 2**60]}, "`block_out_channels`"),
    "text of a U-Net": ("unet/config.json", {"cross_attention_dim": 10**7}, "`unet` asks for"),
    "classes of a U-Net": ("unet/config.json", {"num_class_embeds": MUCH}, "`unet` asks for"),
    "layers of a VAE": ("vae/config.json", {"layers_per_block": MUCH}, "`vae` asks for"),
    "channels of a VAE": ("vae/config.json", {"block_out_channels": [2**18, 2**18]}, "`vae` asks for"),
    "layers of CLIP": ("hand_text_encoder/config.json", {"num_hidden_layers": 1000}, "`hand_text_encoder` asks for"),
    "width of CLIP": ("hand_text_encoder/config.json", {"intermediate_size": MUCH}, "`hand_text_encoder` asks for"),
    "words of CLIP": ("hand_text_encoder/config.json", {"vocab_size": MUCH}, "`hand_text_encoder` asks for"),
    "layers of ours": ("text_encoder/config.json", {"num_hidden_layers": 1000}, "`text_encoder` asks for"),
    "width of ours": ("text_encoder/config.json", {"hand_hidden_size": 2**20}, "`text_encoder` asks for"),
    "points of ours": ("text_encoder/config.json", {"num_basis_points": MUCH}, "`text_encoder` asks for"),
    "width of stage 1": ("text_to_hand_params/config.json", {"hidden_size": MUCH}, "`text_to_hand_params` asks for"),
    "vertices": ("body_model/config.json", {"num_vertices": MUCH}, "`body_model` asks for"),
    "steps": ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "`num_train_timesteps` 1000000000"),
    "steps as a float, of which some schedulers make a table": (
        "text_to_hand_scheduler/scheduler_config.json",
        {"num_train_timesteps": 1e9, "trained_betas": [0.1]},
        "`num_train_timesteps` 1000000000.0, more than",
    ),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
class TestConfigsThatAskForMuch:
    """In a process of their own, with 700 MiB beside the libraries."""

    @pytest.fixture(scope="class")
    def outcomes(self, stored_pipeline, tmp_path_factory):
        folder = tmp_path_factory.mktemp("large") / "a pipeline"
        shutil.copytree(stored_pipeline, folder)
        changes = json.dumps([entry[:2] for entry in LARGE.values()])
        result = subprocess.run(
            [sys.executable, "-c", LOAD_LIMITED, SOURCE, str(folder)],
            input=changes,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return dict(zip(LARGE, result.stdout.splitlines(), strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", LARGE)
    def test_is_refused(self, outcomes, name):
        seconds, _, message = outcomes[name].partition(" ")
        assert "a pipeline" in message and float(seconds) < 10
        assert any(reason in message for reason in LARGE[name][2].split("|")), message

    def test_of_those_who_mean_it(self, pipeline_folder):
        """What is wrong then is that the weights do not fit."""
        change_json(pipeline_folder / "unet" / "config.json", cross_attention_dim=10**6)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "`unet` asks for .*; `check_sizes=False`")
        with pytest.raises((ValueError, OSError), match="shape|size mismatch"):
            HanDiffuserPipeline.from_pretrained(pipeline_folder, check_sizes=False)
        change_json(pipeline_folder / "text_encoder" / "config.json", hand_hidden_size=16_000)
        folder = pipeline_folder / "text_encoder"
        refused(TextHandEncoder.from_pretrained, folder, "`text_encoder` asks for .*; `check_sizes=False`")
        with pytest.raises((ValueError, OSError), match="shape|size mismatch"):
            TextHandEncoder.from_pretrained(folder, check_sizes=False)

    SIZES = {
        "Stable Diffusion 1.5": lambda: UNet2DConditionModel(cross_attention_dim=768),
        "Stable Diffusion XL": lambda: UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
        ),
        "OpenCLIP bigG": lambda: CLIPTextModelWithProjection(
            CLIPTextConfig(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20)
        ),
    }

    @pytest.mark.parametrize("dtype", ["F32", "F16", "F8_E4M3", "four bits"])
    @pytest.mark.parametrize("name", SIZES)
    def test_large_models_are_not_refused(self, tmp_path, name, dtype):
        """The file has the right header and length, but a hole in the place of its numbers."""
        build = self.SIZES[name]
        with torch.device("meta"):
            shapes = {key: list(value.shape) for key, value in build().state_dict().items()}
        header, end = {}, 0
        for key, shape in shapes.items():
            shape = [-(-int(np.prod(shape)) // 2)] if dtype == "four bits" else shape
            start, end = end, end + int(np.prod(shape)) * {"F32": 4, "F16": 2}.get(dtype, 1)
            header[key] = {"dtype": "U8" if " " in dtype else dtype, "shape": shape, "data_offsets": [start, end]}
        content = safetensors(header)
        with (tmp_path / WEIGHTS).open("wb") as file:
            file.write(content)
            file.truncate(len(content) + end)
        check_size("model", build, tmp_path, torch.nn.Module, name)
