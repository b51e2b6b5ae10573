"""The recipes run as they are printed, with tiny models under the Hub's ids, and ControlNets see what was drawn."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from control_inputs import Seen, expected_input, note_inputs
from huggingface_hub import constants
from pages import DOCS, blocks
from PIL import Image
from stand_in_models import fill

from diffusers_handiffuser.repair import HandCrop, HandJudgement, HandPainter, judging
from diffusers_handiffuser.studio import Studio, sample_scene

RECIPES = DOCS / "recipes"


class Control(NamedTuple):
    """One condition of a call: the block's name for it, its ControlNet, and how strongly and how long it acts."""

    condition: str
    net: str | None
    scale: float
    until: float = 1.0
    mode: int | None = None


FLUX, QWEN = "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0", "InstantX/Qwen-Image-ControlNet-Union"
UNION = "xinsir/controlnet-union-sdxl-1.0"
CONTROLS = {
    "sd15": [
        [
            Control("pose", "lllyasviel/control_v11p_sd15_openpose", 0.8),
            Control("depth", "lllyasviel/control_v11f1p_sd15_depth", 0.6),
        ],
        [Control("depth", "gxkok/control_sd15_depth_hand", 0.55)],
    ],
    "sdxl": [
        [Control("pose", UNION, 0.9, mode=0), Control("normals", UNION, 0.7, mode=4)],
        [
            Control("pose", "xinsir/controlnet-openpose-sdxl-1.0", 0.8),
            Control("depth", "diffusers/controlnet-depth-sdxl-1.0", 0.4, 0.7),
        ],
    ],
    "flux": [[Control("pose", FLUX, 0.6, 0.65), Control("depth", FLUX, 0.5, 0.8)]] * 2,
    "qwen-image": [[Control("pose", QWEN, 0.7), Control("depth", QWEN, 0.6)]],
    "z-image": [[Control("depth", None, 0.75)]],
}
"""Of each image that a page's blocks draw."""
REPAIRS = {
    "sd15": Control("depth_hand", "gxkok/control_sd15_depth_hand", 0.55),
    "sdxl": Control("depth", "diffusers/controlnet-depth-sdxl-1.0", 0.5),
    "flux": Control("depth", FLUX, 0.8, 0.8),
}
"""Of the hand that a page's blocks draw anew; the condition is of this kind."""


@pytest.fixture(scope="module")
def hub_cache(tokenizer, tmp_path_factory):
    cache = tmp_path_factory.mktemp("hub cache")
    fill(cache, tokenizer)
    return cache


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A drawn hand, in whose image MediaPipe finds one."""
    pixels, _ = Studio(size=512).draw([sample_scene(0, "train", 5, "close_up")])
    image = Image.fromarray((255 * pixels[0]).round().byte().permute(1, 2, 0).numpy())
    return image.crop((-64, -128, 576, 640))


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """What ControlNets are given from now on."""
    return note_inputs(monkeypatch)


@pytest.fixture
def bad_hands(monkeypatch) -> None:
    """From now on, hands are judged to be bad."""
    monkeypatch.setattr(judging, "default_judge", lambda body_model=None: lambda *hand: HandJudgement(True, "a test"))


class NotingPainter:
    """A page's painter, and what ControlNets are given for each of its crops."""

    def __init__(self, painter: HandPainter, seen: list[Seen]) -> None:
        self.painter, self.size, self.seen = painter, painter.size, seen
        self.crops: list[tuple[HandCrop, list[Seen]]] = []

    def __call__(self, crop: HandCrop, /) -> Image.Image:
        self.seen.clear()
        image = self.painter(crop)
        self.crops.append((crop, list(self.seen)))
        return image


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index", *CONTROLS])
def test_recipe(page, quick_mini, hub_cache, photograph, seen, bad_hands, one_thread, tmp_path, monkeypatch):
    """Blocks of a page go on from each other, as they would in a notebook."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_cache))
    monkeypatch.chdir(tmp_path)
    photograph.save("photograph.jpg")
    names: dict[str, Any] = {}
    controls, repairs = iter(CONTROLS.get(page, [])), iter([REPAIRS[page]] if page in REPAIRS else [])
    for number, (language, code) in enumerate(blocks(RECIPES / f"{page}.md")):
        assert language == "python"
        if "fit_hands" in code or "repair_hands" in code:
            pytest.importorskip("mediapipe", reason="the rest of the page needs the extra `detect`")
        for result in ("image", "repaired"):
            names.pop(result, None)
        exec(compile(code, f"block {number} of {page}.md", "exec"), names)
        if "image" in names:
            check_image(names, next(controls), seen)
            seen.clear()
        if "repaired" in names:
            check_repair(names, next(repairs))
            seen.clear()
        elif "painter = " in code:
            names["painter"] = NotingPainter(names["painter"], seen)
    assert not seen and next(controls, None) is None and next(repairs, None) is None


def check_image(names: dict[str, Any], controls: list[Control], seen: list[Seen]) -> None:
    assert isinstance(names["image"], Image.Image)
    conditions = [names[control.condition] for control in controls]
    assert all(condition.size == names["image"].size for condition in conditions)
    check_calls(names["pipe"], conditions, controls, seen)


def check_repair(names: dict[str, Any], control: Control) -> None:
    """The painter was given the one hand of the photograph, three times, and its ControlNet saw this hand."""
    painter, (hand,) = names["painter"], names["repaired"].hands
    assert len(painter.crops) == 3 and hand.decision in ("repaired", "not_improved")
    for crop, seen in painter.crops:
        drawn = crop.hand_params[0].to_condition(control.condition, painter.size, parts=("hands",))
        check_calls(names["pipe"], [drawn], [control], seen)


def check_calls(pipe: Any, conditions: list[Image.Image], controls: list[Control], seen: list[Seen]) -> None:
    """In each step, each ControlNet was given its condition, and this alone."""
    expected = [expected_input(pipe, condition) for condition in conditions]
    steps = len(seen) // len(controls)
    assert steps >= 8 and len(seen) == steps * len(controls)
    for i, call in enumerate(seen):
        number, step = i % len(controls), i // len(controls)
        control = controls[number]
        assert (call.net, call.mode) == (control.net, control.mode)
        assert call.scale == (control.scale if (step + 1) / steps <= control.until else 0)
        fits = [torch.equal(call.condition, each.expand_as(call.condition)) for each in expected]
        assert fits == [other == number for other in range(len(controls))]


def named_repositories() -> Iterator[str]:
    """The Hub ids in the code of the pages."""
    for page in CONTROLS:
        for _, code in blocks(RECIPES / f"{page}.md"):
            yield from re.findall(r'"([\w.-]+/[\w.-]+)"', code)


def test_index_names_the_controlnets():
    index = (RECIPES / "index.md").read_text(encoding="utf-8")
    nets = [name for name in named_repositories() if "ontrol" in name]
    assert len(set(nets)) == 9
    assert not [name for name in nets if f"`{name}`" not in index]
