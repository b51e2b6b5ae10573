"""The README's reading path is what a call runs through."""

import re
import sys
from pathlib import Path

import torch
from pages import ROOT

import diffusers_handiffuser

SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- reading path: ")[1]
LINKS = re.findall(r"]\((src/\S+)\)", SECTION)


def listed_functions() -> list[tuple[str, str]]:
    """File and function, in the order of the list, in the package that is imported."""
    (folder,) = [link for link in LINKS if link.endswith("/pipelines")]
    folder = Path(diffusers_handiffuser.__file__).parents[1] / Path(folder).relative_to("src")
    found = []
    for name in re.findall(r"`([\w.]+)`", SECTION[SECTION.index("1. ") : SECTION.index("The denoising loop")]):
        if name.endswith(".py"):
            file = str(folder / name)
        else:
            found.append((file, name.rpartition(".")[2]))
    return found


def test_a_call_runs_through_it(pipe):
    functions, called = listed_functions(), []
    assert len(functions) == 5 and len({file for file, _ in functions}) == 3

    def note(frame, event, _):
        place = (frame.f_code.co_filename, frame.f_code.co_name)
        if event == "call" and place in functions and place not in called:
            called.append(place)

    sys.setprofile(note)
    try:
        pipe("a fist", generator=torch.Generator().manual_seed(0), num_inference_steps=1, num_hand_inference_steps=1)
    finally:
        sys.setprofile(None)
    assert called == functions


def test_links_lead_somewhere():
    assert len(LINKS) > 2 and not [link for link in LINKS if not (ROOT / link).exists()]
