"""Nothing but the whole body of a licensed file needs `smplx`, whose licence is non-commercial."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffusers_handiffuser

BLOCK = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "smplx":
            raise AssertionError("smplx is imported")

sys.meta_path.insert(0, Refuse())
"""

FREE_PATHS = """
import numpy
import torch
import diffusers_handiffuser
from PIL import Image
from diffusers_handiffuser import MINI, DetectedHand, HandBodyModel, HanDiffuserPipeline, HandParams, fit_hands
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.data.geometry import body_joints_in_pixels
from diffusers_handiffuser.studio import Studio, make_dataset, sample_scene

body = HandBodyModel.procedural()
assert torch.isfinite(body.full_mesh(HandParams.zeros(2, 3)).vertices).all()

pipe = HanDiffuserPipeline.from_pretrained(MINI)
pipe.set_progress_bar_config(disable=True)
prompt = "a right hand making a peace sign"
hands = pipe.sample_hand_params(prompt, num_hand_inference_steps=1)
pipe(prompt, num_inference_steps=1, num_hand_inference_steps=1)
pipe(prompt, hand_params=hands, num_inference_steps=1)
pipe.save_pretrained("pipe")
HanDiffuserPipeline.from_pretrained("pipe")

for kind in ("openpose", "depth", "normal", "mask"):
    hands.to_condition(kind, 64)
    hands.to_condition(kind, 64, body)
hands.show(64)

points, metres = body(hands).joints_2d[0] * 32 + 32, body(hands).joints_3d[0]
detected = [DetectedHand(side, points[k], 0.9, metres[k]) for k, side in enumerate(("left", "right"))]
fitted = fit_hands(detected, (64, 64), steps=2)
fitted.to_condition("openpose")
fitted.overlay([Image.new("RGB", (64, 64))])
fitted.to_glb()
fit_hands(Image.new("RGB", (64, 64)), detector=lambda image: detected)
hands[0].view_3d()
hands.save("hands.safetensors")
body_joints_in_pixels(HandParams.load("hands.safetensors"), body, 64, 64)

body.save_pretrained("body")
HandBodyModel.from_pretrained("body").full_mesh(hands)
HandBodyModel.from_smplh(body.to_smplx("body.npz")).full_mesh(hands)
arrays = dict(numpy.load("body.npz"))
arrays["v_template"] = arrays["v_template"] * 1.01
numpy.savez("own.npz", **arrays)
HandBodyModel.from_smplh("own.npz", licensed=False).full_mesh(hands)

Studio(size=64).draw([sample_scene(0, "train", i, kind) for i, kind in enumerate(("close_up", "person"))])
make_dataset("data", 2, size=64, progress=False)
assert not main(["hands", prompt, "-o", "x.glb", "--hand-steps", "1"])
assert not main(["data", "check", "data", "--sheet", "sheet.png"])
print("free")
"""

LICENSED = """
import numpy
from diffusers_handiffuser import HandBodyModel, HandParams

arrays = dict(numpy.load(HandBodyModel.procedural().to_smplx("body.npz")))
arrays["v_template"] = arrays["v_template"] * 1.01
numpy.savez("licensed.npz", **arrays)
licensed = HandBodyModel.from_smplh("licensed.npz")
licensed(HandParams.zeros(1))
try:
    licensed.full_mesh(HandParams.zeros(1))
except AssertionError as error:
    print(error)
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    source = Path(diffusers_handiffuser.__file__).parents[1]
    path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_free_paths_do_not_import_smplx(tmp_path):
    result = run(FREE_PATHS, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("free")


@pytest.mark.slow
def test_the_whole_body_of_a_licensed_file_does(tmp_path):
    result = run(LICENSED, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("smplx is imported")
