"""The package is imported a second time in one process, as in notebooks that are run again from the top."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffusers_handiffuser

CONTRACT = Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"

PURGE = """
for name in list(sys.modules):
    if name.startswith("diffusers_handiffuser"):
        del sys.modules[name]
old("a", hand_params=hands)
"""
RELOAD = """
for name in list(sys.modules):
    if name.startswith("diffusers_handiffuser"):
        importlib.reload(sys.modules[name])
"""
PROGRAM = """
import importlib, json, sys
from diffusers import AutoModel, AutoPipelineForImage2Image, AutoPipelineForText2Image, DiffusionPipeline
import diffusers_handiffuser as earlier

checkpoint = sys.argv[1]
old = earlier.HanDiffuserPipeline.from_pretrained(checkpoint)
old.set_progress_bar_config(disable=True)
hands = old.sample_hand_params("a")
{again}
import diffusers_handiffuser as now
from diffusers_handiffuser import HanDiffuserImg2ImgPipeline, HanDiffuserPipeline

new = HanDiffuserPipeline.from_pretrained(checkpoint)
new.set_progress_bar_config(disable=True)
new("a", hand_params=new.sample_hand_params("a"))
found = {{
    "another class": type(old) is not type(new),
    "bare": type(DiffusionPipeline.from_pretrained(checkpoint)) is HanDiffuserPipeline,
    "auto": type(AutoPipelineForText2Image.from_pretrained(checkpoint)) is HanDiffuserPipeline,
    "auto img2img": type(AutoPipelineForImage2Image.from_pretrained(checkpoint)) is HanDiffuserImg2ImgPipeline,
    "auto model": type(AutoModel.from_pretrained(checkpoint, subfolder="text_encoder")) is now.TextHandEncoder,
}}
mixtures = {{
    "hand_params": lambda: new("a", hand_params=hands),
    "hand_params ": lambda: new.body_model(hands),
    "text_encoder": lambda: HanDiffuserPipeline.from_pretrained(checkpoint, text_encoder=old.text_encoder),
    "text_encoder ": lambda: HanDiffuserImg2ImgPipeline.from_pipe(old),
    "body_model": lambda: DiffusionPipeline.from_pretrained(checkpoint, body_model=old.body_model),
    "text_to_hand_params": lambda: HanDiffuserPipeline(
        **{{**new.components, "text_to_hand_params": old.text_to_hand_params}}
    ),
}}
for name, mixture in mixtures.items():
    try:
        mixture()
        found[name] = "nothing was said"
    except (TypeError, ValueError) as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("again", [PURGE, RELOAD], ids=["modules deleted", "modules reloaded"])
def test_loads_anew_and_tells_what_is_left_from_before(again, tmp_path):
    source = str(Path(diffusers_handiffuser.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(again=again), str(CONTRACT)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, outcome in found.items():
        if isinstance(outcome, bool):
            assert outcome, name
        else:
            assert f"`{name.strip()}` is a " in outcome, (name, outcome)
            assert outcome.endswith("in this process; load or make it again, or restart the process."), (name, outcome)
