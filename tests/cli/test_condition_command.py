"""`handiffuser condition`: the images of `to_condition`, of a prompt, a file or a photograph."""

import json
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser import HanDiffuserPipeline, fit_hands
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.hands import frame_hands
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.hands.framing import FRAMINGS
from diffusers_handiffuser.rendering.conditions import CONDITIONS
from diffusers_handiffuser.rendering.skeletons import STYLES
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

DETECTOR = """
import json
import numpy as np
from diffusers_handiffuser import DetectedHand

def find(image):
    if image.max() < 140:  # black, with a grey margin
        return []
    return [DetectedHand(hand["side"], np.array(hand["landmarks"]), 0.9, np.array(hand["landmarks_3d"]))
            for hand in json.load(open("hands.json"))]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def people():
    """Two rows, a close-up of one hand and one of two."""
    scenes = [sample_scene(5, "train", 0, "close_up"), sample_scene(5, "train", 1, "two_hands")]
    people = pose_scenes(scenes, procedural_body())
    people.save("people.safetensors")
    return people


@pytest.fixture
def photo(folder):
    """A photograph of 160 x 120 pixels with two hands of one person, an empty one, and a detector."""
    geometry = procedural_body()(pose_scenes([sample_scene(7, "train", 1, "two_hands")], procedural_body()))
    pixels = square_to_pixels(geometry.joints_2d[0], 120, 160)
    found = [
        {"side": side, "landmarks": pixels[k].tolist(), "landmarks_3d": geometry.joints_3d[0, k].tolist()}
        for k, side in enumerate(("left", "right"))
    ]
    (folder / "hands.json").write_text(json.dumps(found))
    (folder / "knows.py").write_text(DETECTOR)
    Image.new("RGB", (160, 120), (90, 120, 150)).save("photo.png")
    Image.new("RGB", (160, 120)).save("empty.png")
    return np.asarray(Image.open("photo.png"))


def condition(*arguments):
    return main(["condition", *arguments])


def is_drawn(path, image):
    written = Image.open(path)
    return written.mode == image.mode and np.array_equal(np.asarray(written), np.asarray(image))


def is_empty(path):
    return Image.open(path).convert("L").getextrema() == (0, 0)


class TestPrompt:
    def test_the_sampled_hands(self, checkpoint, capsys):
        options = ("--style", "xinsir", "--size", "64x96", "--seed", "3", "--model", checkpoint)
        assert condition("a hand", "-o", "pose.png", "--kind", "openpose", *options) == 0
        assert capsys.readouterr().out == "pose.png\n"
        pipe = HanDiffuserPipeline.from_pretrained(checkpoint)
        hands = pipe.sample_hand_params("a hand", generator=torch.Generator().manual_seed(3))
        assert hands.hand_visible.any()
        assert is_drawn("pose.png", hands[0].to_condition("openpose", (64, 96), pipe.body_model, style="xinsir"))
        assert main(["hands", "a hand", "-o", "h.json", "--seed", "3", "--model", checkpoint]) == 0
        assert condition("--hands", "h.json", "-o", "again.png", "--style", "xinsir", "--size", "64x96") == 0
        assert is_drawn("again.png", Image.open("pose.png"))

    @pytest.mark.parametrize("framing", FRAMINGS)
    def test_framing_is_that_of_sampling(self, checkpoint, framing):
        options = ("--size", "64x96", "--seed", "3", "--model", checkpoint, "--parts", "body,hands")
        assert condition("a hand", "-o", "pose.png", "--framing", framing, *options) == 0
        pipe = HanDiffuserPipeline.from_pretrained(checkpoint)
        hands = pipe.sample_hand_params(
            "a hand", generator=torch.Generator().manual_seed(3), framing=framing, height=96, width=64
        )
        assert is_drawn("pose.png", hands[0].to_condition("openpose", (64, 96), parts=("body", "hands")))

    def test_several_images_and_kinds(self, checkpoint, folder, capsys):
        options = ("--num-images", "2", "--size", "48", "--seed", "3", "--model", checkpoint)
        assert condition("a hand", "-o", "x.png", "--kind", "mask", "--kind", "depth", *options) == 0
        names = ["x_0.mask.png", "x_1.mask.png", "x_0.depth.png", "x_1.depth.png"]
        assert capsys.readouterr().out.split() == names
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        assert condition("a hand", "-o", "y.png", "--kind", "mask", *options[2:4], "--seed", "4", *options[6:]) == 0
        assert is_drawn("y.png", Image.open("x_1.mask.png"))

    def test_without_a_seed_it_says_which_it_took(self, checkpoint, capsys):
        assert condition("a hand", "-o", "x.png", "--size", "48", "--model", checkpoint) == 0
        seed = re.search(r"^seed (\d+)$", capsys.readouterr().err, re.M)[1]
        assert condition("a hand", "-o", "y.png", "--size", "48", "--seed", seed, "--model", checkpoint) == 0
        assert is_drawn("y.png", Image.open("x.png"))

    @pytest.mark.parametrize("kind", [kind for kind in CONDITIONS if kind != "normal"])
    def test_a_sentence_without_hands(self, handless, capsys, kind):
        assert condition("a lake", "-o", "x.png", "--kind", kind, "--size", "48", "--model", handless) == 0
        assert is_empty("x.png")
        assert "the sentence has no hands: the condition is empty" in capsys.readouterr().err.splitlines()


class TestFile:
    def test_one_image_of_each_row(self, people):
        assert condition("--hands", "people.safetensors", "-o", "x.png") == 0
        for i, row in enumerate(people):
            assert is_drawn(f"x_{i}.png", row.to_condition("openpose", 512))

    def test_people_in_one_image(self, people, folder):
        options = ("--people", "--framing", "full_body", "--size", "96x64", "--kind", "openpose")
        assert condition("--hands", "people.safetensors", "-o", "x.png", *options) == 0
        framed = frame_hands(people, "full_body", 64, 96, people=True)
        assert is_drawn("x.png", framed.to_condition("openpose", (96, 64), people=True))
        assert not (folder / "x_0.png").exists()

    @pytest.mark.parametrize("kind", CONDITIONS)
    def test_every_kind(self, people, kind):
        people[0].save("one.json")
        assert condition("--hands", "one.json", "-o", "x.png", "--kind", kind, "--size", "64") == 0
        assert is_drawn("x.png", people[0].to_condition(kind, 64)) and not is_empty("x.png")

    def test_rows_without_hands_are_counted(self, people, capsys):
        people.replace(hand_visible=torch.tensor([[False, True], [False, False]])).save("h.json")
        assert condition("--hands", "h.json", "-o", "x.png", "--size", "48", "--parts", "hands") == 0
        assert capsys.readouterr().err == "no hand is visible in 1 of 2 images\n"
        assert is_empty("x_1.png") and not is_empty("x_0.png")
        assert condition("--hands", "h.json", "-o", "x.png", "--size", "48", "--people") == 0
        assert not capsys.readouterr().err

    def test_people_of_every_kind(self, people):
        kinds = [option for kind in CONDITIONS for option in ("--kind", kind)]
        assert condition("--hands", "people.safetensors", "-o", "x.png", "--people", "--size", "48", *kinds) == 0
        for kind in CONDITIONS:
            assert is_drawn(f"x.{kind}.png", people.to_condition(kind, 48, people=True)), kind

    def test_bodies_in_depth(self, people):
        options = ("--kind", "depth", "--parts", "hands,forearms,body", "--size", "64", "--framing", "waist_up")
        people[0].save("one.json")
        assert condition("--hands", "one.json", "-o", "x.png", *options) == 0
        framed = frame_hands(people[0], "waist_up", 64, 64)
        assert is_drawn("x.png", framed.to_condition("depth", 64, parts=("hands", "forearms", "body")))

    def test_hands_outside_are_a_warning_of_one_line(self, people, monkeypatch):
        printed = []
        monkeypatch.setattr(warnings, "showwarning", lambda *args: printed.append(warnings.formatwarning(*args[:4])))
        people.replace(camera=people.camera + torch.tensor([0.0, 9.0, 0.0])).save("away.safetensors")
        assert condition("--hands", "away.safetensors", "-o", "x.png") == 0
        wanted = "The condition is empty in 2 of 2 images: nothing that it shows lies in the image."
        assert printed == [f"handiffuser: warning: {wanted}\n"]
        assert "Warning" in warnings.formatwarning(UserWarning("after the command"), UserWarning, "x.py", 1)

    def test_of_nobody(self, people, capsys):
        people[:0].save("nobody.json")
        assert condition("--hands", "nobody.json", "-o", "x.png", "--size", "48", "--framing", "waist_up") == 0
        assert is_empty("x.png")
        assert "no hand of nobody.json is visible: the condition is empty" in capsys.readouterr().err


class TestPhotograph:
    def test_hands_alone_in_its_size(self, photo):
        assert condition("--image", "photo.png", "-o", "x.png", "--detector", "knows:find") == 0
        fitted = fit_hands(photo, detector="knows:find")
        assert is_drawn("x.png", fitted.to_condition("openpose")[0])

    def test_parts_and_framing(self, photo):
        options = ("--parts", "body,hands", "--framing", "waist_up", "--size", "64x96", "--people")
        assert condition("--image", "photo.png", "-o", "x.png", "--detector", "knows:find", *options) == 0
        framed = frame_hands(fit_hands(photo, detector="knows:find").hand_params, "waist_up", 96, 64, people=True)
        assert is_drawn("x.png", framed.to_condition("openpose", (64, 96), parts=("body", "hands"), people=True))

    def test_without_hands(self, photo, capsys):
        for options in ((), ("--people", "--framing", "full_body")):
            assert condition("--image", "empty.png", "-o", "x.png", "--detector", "knows:find", *options) == 0
            assert is_empty("x.png") and Image.open("x.png").size == (160, 120)
            assert "no hand was found: the condition is empty" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("output", "photograph", "kinds"), [("./photo.png", "photo.png", 1), ("p.png", "p.depth.png", 2)]
    )
    def test_is_not_overwritten(self, photo, capsys, output, photograph, kinds):
        Image.fromarray(photo).save(photograph)
        options = ("--kind", "openpose", "--kind", "depth")[: 2 * kinds]
        assert condition("--image", photograph, "-o", output, "--detector", "knows:find", *options) == 2
        assert "is the photograph itself" in capsys.readouterr().err
        assert np.array_equal(Image.open(photograph), photo)


KNOWN = ", ".join(CONDITIONS)
BAD = {
    "kind": (("--kind", "pose"), f"--kind must be one of {KNOWN}, got 'pose'"),
    "style": (("--style", "sketch"), f"--style must be one of {', '.join(STYLES)}, got 'sketch'"),
    "part": (("--parts", "hands,feet"), "--parts of openpose must be one of body, hands, face, got 'feet'"),
    "no part": (("--parts", ""), "--parts of openpose must be one of body, hands, face, got ''"),
    "part of a kind": (("--kind", "openpose", "--kind", "mask", "--parts", "face"), "--parts of mask must be one of"),
    "framing": (("--framing", "near"), f"--framing must be one of {', '.join(FRAMINGS)}, got 'near'"),
    **{
        f"size {size!r}": (("--size", size), f"--size must be WIDTHxHEIGHT or the side of a square.*got '{size}'")
        for size in ("", "0", "x", "64x", "x64", "64x0", "-64", "64x64x64", "6.4", "big", "64 x 64", "٦٤")
    },
    "large size": (("--size", "16385x64"), "--size must be at most 16384 pixels per side, got 16385x64"),
    "detector": (("--detector", "knows:find"), "--detector needs --image"),
    "output": (("-o", "x.gif3"), "--output must end in .png"),
    "number": (("--num-images", "0"), "--num-images must be at least 1, got 0"),
    "steps": (("--hand-steps", "0"), "--hand-steps must be at least 1, got 0"),
    "seed": (("--seed", "-1"), "--seed must be between 0 and"),
}


class TestBadInput:
    @pytest.mark.parametrize("case", BAD)
    def test_one_line_and_nothing_written(self, checkpoint, folder, capsys, case):
        options, message = BAD[case]
        assert condition("a hand", "-o", "x.png", "--model", checkpoint, *options) == 2
        error = capsys.readouterr().err.splitlines()
        assert re.search(rf"^handiffuser: error: .*{message}", error[-1]), error
        assert not list(folder.iterdir())

    @pytest.mark.parametrize(
        "options",
        [("--seed", "3"), ("--num-images", "2"), ("--model", "m"), ("--hand-steps", "9"), ("--device", "cpu")],
    )
    @pytest.mark.parametrize("given", ["--hands", "--image"])
    def test_options_of_sampling(self, folder, capsys, given, options):
        assert condition(given, "x.json", "-o", "x.png", *options) == 2
        assert f"{options[0]} does not go with {given}, for which nothing is sampled" in capsys.readouterr().err

    def test_absent_files(self, capsys):
        for option, message in (("--hands", "no hand parameters at no.png"), ("--image", "no image file 'no.png'")):
            assert condition(option, "no.png", "-o", "x.png") == 2
            assert message in capsys.readouterr().err.lower()

    @pytest.mark.parametrize(
        "sources", [(), ("a hand", "--hands", "h.json"), ("--hands", "h.json", "--image", "x.png")]
    )
    def test_one_source(self, capsys, sources):
        with pytest.raises(SystemExit) as refusal:
            condition(*sources, "-o", "x.png")
        assert refusal.value.code == 2
        assert re.search(
            "one of the arguments prompt --hands --image|not allowed with argument", capsys.readouterr().err
        )


def test_help_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        condition("--help")
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert words >= {*CONDITIONS, *STYLES, *FRAMINGS}
