"""The command line, in this process, on a tiny checkpoint: what it writes, and how it refuses."""

import json
import struct

import pytest
import torch
from PIL import Image

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.hands import frame_hands


@pytest.fixture
def run(checkpoint, tmp_path, monkeypatch, capsys):
    """Runs `handiffuser` in an empty folder; returns its exit code and what it printed to stderr."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments, model=True):
        capsys.readouterr()
        options = ["--model", checkpoint] if model else []
        code = main([*arguments, *options])
        return code, capsys.readouterr().err

    return run_command


def one_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.startswith("handiffuser:")]
    assert len(lines) == 1
    assert "Traceback" not in message
    return lines[0]


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0 and capsys.readouterr().out.startswith("handiffuser ")


class TestGenerate:
    def test_suffixes_in_capitals(self, run):
        assert run("generate", "a hand", "-o", "x.PNG", "--seed", "3")[0] == 0
        assert run("hands", "a hand", "-o", "x.JSON", "--seed", "3")[0] == 0
        assert Image.open("x.PNG").format == "PNG" and len(HandParams.load("x.JSON")) == 1

    def test_leaves_image_hands_and_preview(self, run, tmp_path):
        code, progress = run("generate", "a hand", "-o", "x.png", "--seed", "3")
        assert code == 0
        assert sorted(p.name for p in tmp_path.iterdir()) == ["x.hands.safetensors", "x.png", "x.preview.png"]
        assert Image.open("x.png").size == (16, 16)
        preview = Image.open("x.preview.png")
        assert preview.width == 3 * preview.height
        assert len(HandParams.load("x.hands.safetensors")) == 1
        assert "hands" in progress and "100%" in progress

    def test_same_seed_same_files(self, run, tmp_path):
        for name in ("a", "b"):
            assert run("generate", "a hand", "-o", f"{name}.png", "--seed", "3")[0] == 0
        for end in (".png", ".hands.safetensors", ".preview.png"):
            assert (tmp_path / f"a{end}").read_bytes() == (tmp_path / f"b{end}").read_bytes()

    def test_without_a_seed_it_says_which_it_took(self, run, tmp_path):
        _, printed = run("generate", "a hand", "-o", "a.png")
        seed = next(line.split()[1] for line in printed.splitlines() if line.startswith("seed "))
        run("generate", "a hand", "-o", "b.png", "--seed", seed)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_several_images_share_one_hands_file(self, run, tmp_path):
        assert run("generate", "a hand", "-o", "x.png", "--num-images", "3", "--seed", "5")[0] == 0
        names = ["x.hands.safetensors", "x.preview.png", "x_0.png", "x_1.png", "x_2.png"]
        assert sorted(p.name for p in tmp_path.iterdir()) == names
        assert len(HandParams.load("x.hands.safetensors")) == 3
        preview = Image.open("x.preview.png")
        assert preview.height == 3 * 256

    def test_image_i_of_several_is_the_one_with_seed_plus_i(self, run):
        run("generate", "a hand", "-o", "x.png", "--num-images", "2", "--seed", "5")
        run("generate", "a hand", "-o", "y.png", "--seed", "6")
        together, alone = HandParams.load("x.hands.safetensors"), HandParams.load("y.hands.safetensors")
        torch.testing.assert_close(together[1:].full_pose, alone.full_pose, atol=1e-4, rtol=1e-4)

    def test_given_hands_are_used_and_written_again(self, run, hands):
        hands[1].save("given.safetensors")
        assert run("generate", "a hand", "-o", "x.png", "--hands", "given.safetensors", "--seed", "0")[0] == 0
        written = HandParams.load("x.hands.safetensors")
        assert torch.equal(written.full_pose, hands[1:].full_pose)

    def test_no_hands_leaves_the_image_alone(self, run, tmp_path):
        assert run("generate", "a hand", "-o", "x.png", "--no-hands")[0] == 0
        assert [p.name for p in tmp_path.iterdir()] == ["x.png"]

    @pytest.mark.parametrize("name", ["EulerDiscrete", "EulerDiscreteScheduler", "DPMSolverMultistep"])
    def test_schedulers_by_name(self, run, name):
        assert run("generate", "a hand", "-o", "x.png", "--scheduler", name, "--steps", "3")[0] == 0


class TestHands:
    @pytest.mark.parametrize("suffix", ["safetensors", "json"])
    def test_parameters(self, run, suffix):
        assert run("hands", "a hand", "-o", f"x.{suffix}", "--seed", "0")[0] == 0
        assert HandParams.load(f"x.{suffix}").batch_shape == (1,)

    @pytest.mark.parametrize("framing", ["close_up", "waist_up", "full_body"])
    def test_framing(self, run, framing):
        options = ("--seed", "3", "--framing", framing)
        assert run("hands", "a hand", "-o", "framed.json", *options)[0] == 0
        assert run("hands", "a hand", "-o", "sampled.json", "--seed", "3")[0] == 0
        assert run("generate", "a hand", "-o", "x.png", *options)[0] == 0
        framed, sampled, drawn = map(HandParams.load, ("framed.json", "sampled.json", "x.hands.safetensors"))
        assert torch.equal(framed.camera, frame_hands(sampled, framing, 512, 512).camera)
        assert torch.equal(framed.camera, drawn.camera) and torch.equal(framed.full_pose, sampled.full_pose)
        assert not torch.equal(framed.camera, sampled.camera)

    def test_preview(self, run):
        assert run("hands", "a hand", "-o", "x.png", "--seed", "0")[0] == 0
        assert Image.open("x.png").size == (512, 512)

    def test_meshes(self, run, tmp_path):
        assert run("hands", "a hand", "-o", "x.obj", "--seed", "0")[0] == 0
        assert run("hands", "a hand", "-o", "x.glb", "--seed", "0")[0] == 0
        objects = [line for line in (tmp_path / "x.obj").read_text().splitlines() if line.startswith("o ")]
        data = (tmp_path / "x.glb").read_bytes()
        magic, version, total, length = struct.unpack_from("<4sIII", data)
        assert (magic, version, total) == (b"glTF", 2, len(data))
        assert [f"o {node['name']}" for node in json.loads(data[20 : 20 + length])["nodes"]] == objects

    def test_a_sentence_without_hands(self, run, handless):
        wanted = "the sentence has no hands"
        for suffix in ("json", "safetensors", "png"):
            code, message = run("hands", "a lake", "-o", f"x.{suffix}", "--model", handless, model=False)
            assert code == 0 and wanted in message
        assert not HandParams.load("x.json").hand_visible.any()
        lightest, darkest = Image.open("x.png").convert("L").getextrema()
        assert lightest == darkest
        for suffix in ("obj", "glb"):
            code, message = run("hands", "a lake", "-o", f"x.{suffix}", "--model", handless, model=False)
            assert code == 2 and one_line(message).endswith(f"{wanted}; there is no mesh to write")

    def test_an_image_of_a_sentence_without_hands(self, run, handless):
        code, message = run("generate", "a lake", "-o", "x.png", "--num-images", "2", "--model", handless, model=False)
        assert code == 0 and "the sentence has no hands in 2 of 2 images" in message.splitlines()

    @pytest.mark.slow
    def test_the_bundled_checkpoint_says_that_it_may_draw_one_all_the_same(self, run):
        prompt = "an empty beach at dawn, nobody around"
        code, message = run("generate", prompt, "-o", "x.png", "--steps", "1", "--seed", "0", model=False)
        assert code == 0 and "never saw images without hands, and may draw one" in message
        code, message = run("generate", "a left fist", "-o", "x.png", "--steps", "1", "--seed", "0", model=False)
        assert code == 0 and "no hands" not in message


class TestDataMake:
    def test_makes_a_folder(self, run, tmp_path):
        assert run("data", "make", "d", "--num", "2", "--size", "32", model=False)[0] == 0
        rows = [json.loads(line) for line in (tmp_path / "d" / "metadata.jsonl").read_text().splitlines()]
        assert [row["file_name"] for row in rows] == ["images/000000.png", "images/000001.png"]
        assert Image.open(tmp_path / "d" / rows[0]["file_name"]).size == (32, 32)

    def test_without_hands_and_in_natural_language(self, run, tmp_path):
        options = ("--num", "4", "--no-images", "--handless", "1", "--language", "natural")
        assert run("data", "make", "d", *options, model=False)[0] == 0
        rows = [json.loads(line) for line in (tmp_path / "d" / "metadata.jsonl").read_text().splitlines()]
        assert [row["hand_visible"] for row in rows] == [[False, False]] * 4
        code, message = run("data", "make", "e", "--num", "1", "--handless", "2", model=False)
        assert code == 2
        assert "`handless` must be between 0 and 1" in one_line(message)

    def test_with_defects(self, run, tmp_path):
        options = ("--num", "1", "--size", "32", "--defects", "blurred")
        assert run("data", "make", "d", *options, model=False)[0] == 0
        (row,) = [json.loads(line) for line in (tmp_path / "d" / "metadata.jsonl").read_text().splitlines()]
        assert row["defect"]["kind"] == "blurred"
        assert (tmp_path / "d" / row["good_file_name"]).is_file()
        code, message = run("data", "make", "e", "--num", "1", "--defects", "blurry", model=False)
        assert code == 2
        assert "must be one of extra_finger" in one_line(message)

    def test_refuses_a_device_that_is_not_there(self, run, tmp_path):
        code, message = run("data", "make", "d", "--num", "1", "--device", "nope", model=False)
        assert code == 2
        assert "--device nope" in one_line(message)
        assert list(tmp_path.iterdir()) == []

    def test_refuses_a_folder_in_use(self, run):
        run("data", "make", "d", "--num", "1", "--size", "32", "--no-images", model=False)
        code, message = run("data", "make", "d", "--num", "1", model=False)
        assert code == 2
        assert "error: d must not hold a data set yet" in one_line(message)


BAD = {
    "no such folder for the output": (("generate", "a", "-o", "nowhere/x.png"), "nowhere"),
    "output of no known format": (("generate", "a", "-o", "x.gif3"), "--output"),
    "output is a folder": (("generate", "a", "-o", "."), "--output"),
    "zero steps": (("generate", "a", "-o", "x.png", "--steps", "0"), "--steps must be at least 1, got 0"),
    "guidance is nan": (("generate", "a", "-o", "x.png", "--guidance-scale", "nan"), "--guidance-scale"),
    "hand guidance is nan": (
        ("generate", "a", "-o", "x.png", "--hand-guidance-scale", "nan"),
        "--hand-guidance-scale",
    ),
    "no images": (("generate", "a", "-o", "x.png", "--num-images", "0"), "--num-images"),
    "negative seed": (("generate", "a", "-o", "x.png", "--seed", "-1"), "--seed"),
    "unknown scheduler": (("generate", "a", "-o", "x.png", "--scheduler", "Nope"), "DDIM"),
    "missing hands file": (("generate", "a", "-o", "x.png", "--hands", "no.safetensors"), "no.safetensors"),
    "unknown device": (("generate", "a", "-o", "x.png", "--device", "nope"), "--device nope"),
    "hands of no known format": (("hands", "a", "-o", "x.fbx"), ".glb"),
    "unknown framing": (
        ("hands", "a", "-o", "x.json", "--framing", "near"),
        "--framing must be one of close_up, waist",
    ),
    "framing of given hands": (
        ("generate", "a", "-o", "x.png", "--framing", "close_up", "--hands", "h.json"),
        "--framing is for sampled hands",
    ),
    "zero hand steps": (("hands", "a", "-o", "x.json", "--hand-steps", "0"), "--hand-steps must be at least 1"),
}


class TestBadInput:
    @pytest.mark.parametrize("case", BAD)
    def test_one_line_and_exit_code_2(self, run, tmp_path, case):
        arguments, named = BAD[case]
        code, message = run(*arguments)
        assert code == 2
        assert named in one_line(message)
        assert not message.startswith("seed ")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("model", ["no/such/folder", ".", ""])
    def test_missing_or_foreign_checkpoint(self, run, model):
        code, message = run("generate", "a", "-o", "x.png", "--model", model, model=False)
        assert code == 2
        assert "HanDiffuserPipeline" in one_line(message)

    def test_damaged_hands_file(self, run, tmp_path):
        (tmp_path / "h.safetensors").write_bytes(b"\x00" * 20)
        code, message = run("generate", "a", "-o", "x.png", "--hands", "h.safetensors")
        assert code == 2
        assert "h.safetensors" in one_line(message)

    def test_hands_of_the_wrong_number_of_rows(self, run, hands):
        hands.save("h.safetensors")
        code, message = run("generate", "a", "-o", "x.png", "--hands", "h.safetensors", "--num-images", "3")
        assert code == 2
        assert "2 rows" in one_line(message)

    def test_folder_that_cannot_be_written(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda path, mode: False)
        code, message = run("generate", "a", "-o", "x.png")
        assert code == 2
        assert "cannot be written" in one_line(message)

    def test_a_write_that_fails_leaves_the_old_image(self, run, tmp_path, monkeypatch):
        (tmp_path / "x.png").write_bytes(b"old")

        def fail(self, path, *args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", fail)
        code, message = run("generate", "a", "-o", "x.png")
        assert code == 2
        assert "No space left" in one_line(message)
        assert (tmp_path / "x.png").read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["x.png"]

    @pytest.mark.parametrize(
        ("arguments", "command", "named"),
        [
            (
                ("generate", "a", "-o", "x.png", "--guidance", "3"),
                "generate",
                "--guidance; did you mean --guidance-scale",
            ),
            (("generate", "a", "--ouput=x.png"), "generate", "--ouput; did you mean --output"),
            (("data", "make", "d", "--num", "1", "--seeds", "1"), "data make", "--seeds; did you mean --seed"),
            (("push", "a", "b", "--zzz"), "push", "there is no option --zzz\n"),
            (("hands", "a", "-o", "x.json", "more"), "hands", "unrecognized arguments: more"),
            (("evaluate", "--natural", "--output", "o", "--condition", "dept"), "evaluate", "'openpose', 'depth'"),
        ],
    )
    def test_options_that_there_are_not(self, capsys, arguments, command, named):
        """Also abbreviations; under the usage of the command itself."""
        with pytest.raises(SystemExit) as refusal:
            main(arguments)
        message = capsys.readouterr().err
        assert refusal.value.code == 2 and named in message
        assert message.startswith(f"usage: handiffuser {command} ") and f"handiffuser {command}: error: " in message

    def test_a_prompt_may_begin_like_an_option(self, run):
        assert run("hands", "--a hand", "-o", "x.json", "--hand-steps", "1")[0] == 0
        assert run("hands", "-o", "y.json", "--hand-steps", "1", "--model", "", "--", "--hand", model=False)[0] == 2

    def test_unknown_command_and_help(self, capsys):
        with pytest.raises(SystemExit) as refusal:
            main(["nope"])
        assert refusal.value.code == 2
        with pytest.raises(SystemExit) as success:
            main(["--help"])
        assert success.value.code == 0
        assert "generate" in capsys.readouterr().out
