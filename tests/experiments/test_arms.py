"""Every arm trains and is evaluated at the smallest size; arms differ in what their name says alone."""

import json

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image

from diffusers_handiffuser import HandBodyModel, HandParams, TextHandEncoder
from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.evaluation import score_images
from diffusers_handiffuser.studio import Scene
from diffusers_handiffuser.training.hand_params_to_image.loss import ImageLoss

pytestmark = pytest.mark.slow

ENCODER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_basis_points": 16,
    "hand_hidden_size": 16,
}
UNET = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "attention_head_dim": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
NAMES = (
    *("text", "controlnet", "full", "concatenation", "joints_2d", "rotations", "vertices"),
    *("joints_2d+rotations", "joints_2d+vertices", "rotations+vertices"),
)


@pytest.fixture(scope="module")
def start(studio_data, picture_components, tokenizer, tmp_path_factory):
    """Options of the trainer that make all arms tiny."""
    folder = tmp_path_factory.mktemp("start")
    picture_components["vae"].save_pretrained(folder / "vae")
    tokenizer.save_pretrained(folder / "tokenizer")
    return [
        *("--train_data_dir", studio_data / "train", "--max_train_steps", 2, "--train_batch_size", 4),
        *("--resolution", 16, "--lr_warmup_steps", 0, "--seed", 3),
        *("--pretrained_vae_model_name_or_path", folder / "vae", "--tokenizer_name", folder / "tokenizer"),
        *("--text_encoder_config", json.dumps(ENCODER), "--unet_config", json.dumps(UNET)),
    ]


def call(*arguments):
    import arms

    arms.main([str(argument) for argument in arguments])
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    """Output folders of all arms, and what each of their steps was asked to predict."""
    folder, asked = tmp_path_factory.mktemp("runs"), {}
    original = ImageLoss.predict
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            steps = asked.setdefault(name, [])

            def record(self, objective, batch, noise, timesteps, *others, steps=steps):
                kept = ("latents", "input_ids", "hand_visible", "hand_joints_2d")
                steps.append([*(batch[key].clone() for key in kept), noise, timesteps])
                return original(self, objective, batch, noise, timesteps, *others)

            patch.setattr(ImageLoss, "predict", record)
            call("train", name, "--output_dir", folder / name, *start)
    return folder, asked


@pytest.fixture(scope="module")
def results(runs, studio_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    small = ("--data", studio_data / "test", "--num", 4, "--steps", 2, "--batch_size", 3)
    for name in NAMES:
        call("evaluate", runs[0] / name, *small, "--output_dir", folder / name)
    return folder


def test_there_is_an_arm_for_each_question():
    import arms

    assert set(arms.ARMS) == set(NAMES)


def test_arms_get_the_same_rows_and_noise(runs):
    _, asked = runs
    assert all(len(steps) == 2 for steps in asked.values())
    for name in NAMES[1:]:
        for ours, theirs in zip(asked[name], asked["text"], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), name
    assert not torch.equal(asked["text"][0][4], asked["text"][1][4])


def test_arms_start_from_the_same_weights(start, tmp_path):
    names = ("text", "controlnet", "full", "concatenation", "vertices")
    for name in names:
        call("train", name, "--output_dir", tmp_path / name, *start, "--learning_rate", 0, "--max_train_steps", 1)
    for part, model_class in (("unet", UNet2DConditionModel), ("text_encoder", TextHandEncoder)):
        weights = [model_class.from_pretrained(tmp_path / name / part).state_dict() for name in names]
        assert all(torch.equal(value, other[key]) for other in weights for key, value in weights[0].items())
    controlnet = ControlNetModel.from_pretrained(tmp_path / "controlnet/controlnet").state_dict()
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "text/unet").state_dict()
    copied = [key for key in controlnet if key in unet]
    assert len(copied) > 20 and all(torch.equal(controlnet[key], unet[key]) for key in copied)


def test_arms_are_what_they_are_called(runs):
    folder, _ = runs
    for name in NAMES:
        facts = json.loads((folder / name / "arm.json").read_text())
        assert facts["name"] == name and facts["steps"] == 2 and facts["shared"]["text_encoder_config"] == ENCODER
        encoder = TextHandEncoder.from_pretrained(folder / name, subfolder="text_encoder")
        everything = name in ("text", "controlnet", "full", "concatenation")
        assert set(encoder.hand_representations) == (
            {"joints_2d", "rotations", "vertices"} if everything else set(name.split("+"))
        )
        assert encoder.joint_encoding == (name != "concatenation")


def test_joints_are_looked_for_in_all_arms(start, tmp_path):
    """In the U-Net's features of every arm, and in the states of joints where there are any."""
    for name in ("text", "controlnet", "vertices", "full", "joints_2d"):
        call("train", name, "--output_dir", tmp_path / name, *start, "--joint_loss_weight", 1, "--logging_steps", 1)
        logged = json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])
        assert logged["joints"] > 1, name
        assert (logged["joint_states"] > 1) == (name in ("full", "joints_2d")), name


def test_text_and_skeleton_arms_do_not_train_the_hand_states(runs):
    for name in NAMES:
        encoder = TextHandEncoder.from_pretrained(runs[0] / name, subfolder="text_encoder")
        torch.manual_seed(3)
        fresh = TextHandEncoder.from_config(encoder.config)
        same = torch.equal(encoder.null_embedding.weight, fresh.null_embedding.weight)
        assert same == (name in ("text", "controlnet")), name


def test_evaluation_writes_scores_and_a_data_set(results, studio_data):
    for name in NAMES:
        found = json.loads((results / name / "results.json").read_text())
        assert found["rows"] == 4 and all(len(scores) == 4 for scores in found["scores"].values())
        judged = {"judged_side", "judged_gesture", "judged_fingers"}
        assert set(found["scores"]) == {"background", "skin", "skin_within_one", "hand_iou"} | judged
        assert set(found["distances"]) == {"fid", "kid", "fid_hands", "kid_hands"} and found["detector"] is None
    drawn = HandDataset(results / "full", need_images=True)
    assert len(drawn) == 8 and drawn.load_image(7, 16).shape == (16, 16, 3)
    wanted = HandDataset(studio_data / "test").hand_params[:4].repeat_interleave(2)
    assert torch.allclose(drawn.hand_params.right_hand_pose, wanted.right_hand_pose, atol=1e-5)
    metrics = found["scores"]["background"]
    rows = [json.loads(line) for line in (results / name / "metadata.jsonl").read_text().splitlines()]
    found_again = HandDataset(results / name, need_images=True)
    images = torch.from_numpy(np.stack([found_again.load_image(i, 16) for i in range(8)]))
    again = score_images(images / 255, drawn.hand_params, [Scene(**row["scene"]) for row in rows])
    assert again["background"].view(4, 2).mean(1).tolist() == pytest.approx(metrics)


def test_hands_reach_the_picture_of_arms_that_are_told(runs, studio_data):
    from arm_pictures import arm_painter

    rows = [json.loads(line) for line in (studio_data / "test/metadata.jsonl").read_text().splitlines()[:2]]
    hands = HandParams.cat([HandParams.from_dict(row).reshape(1) for row in rows])
    other = hands.replace(camera=hands.camera + torch.tensor([0.5, 0.3, -0.2]), left_hand_pose=-hands.left_hand_pose)
    other = other.replace(right_hand_pose=-hands.right_hand_pose)
    for name in ("text", "controlnet", "full", "rotations"):
        _, paint = arm_painter(runs[0] / name, 2, 2.0, "cpu")
        images = [paint(rows, h, [torch.Generator().manual_seed(i) for i in range(2)]) for h in (hands, hands, other)]
        assert torch.equal(images[0], images[1])
        assert torch.equal(images[0], images[2]) == (name == "text"), name


def test_no_hands_is_a_black_skeleton(runs, studio_data):
    from skeleton_arm import draw_skeletons, load_skeleton_pipeline

    from diffusers_handiffuser import HanDiffuserPipeline

    dataset = HandDataset(studio_data / "test")
    hands = dataset.hand_params[:2]
    hidden = hands.replace(hand_visible=torch.tensor([[False, False], [True, True]]))
    skeletons = draw_skeletons(hidden, HandBodyModel.procedural(), 16)
    assert skeletons.dtype == torch.uint8 and not skeletons[0].any() and skeletons[1].any()
    folder = runs[0] / "controlnet"
    pipe, seen = load_skeleton_pipeline(HanDiffuserPipeline.from_pretrained(folder), folder), []
    pipe.controlnet.register_forward_pre_hook(lambda m, a, k: seen.append(k["controlnet_cond"]), with_kwargs=True)
    pipe.set_progress_bar_config(disable=True)
    pipe("a hand", image=skeletons[1:].float() / 255, hand_conditioning_scale=0, num_inference_steps=1)
    assert not seen[0][0].any() and torch.allclose(seen[0][1], skeletons[1] / 255)


def test_hands_of_stage_1_are_the_same_for_all_arms(runs, studio_data, make_pipe, tmp_path):
    make_pipe().save_pretrained(tmp_path / "stage_1")
    hands = []
    for name in ("text", "full"):
        sampled = ("--hands", "sampled", "--stage_1", tmp_path / "stage_1")
        small = ("--data", studio_data / "test", "--num", 2, "--steps", 2)
        call("evaluate", runs[0] / name, *small, *sampled, "--output_dir", tmp_path / name)
        hands.append(HandDataset(tmp_path / name).hand_params)
        assert json.loads((tmp_path / name / "results.json").read_text())["hands"] == "sampled"
    for field in HandParams.FIELDS:
        assert torch.equal(getattr(hands[0], field), getattr(hands[1], field))
    assert not torch.equal(hands[0].camera[0], hands[0].camera[1])


def test_the_report_has_the_arms_and_their_pictures(results, studio_data, tmp_path):
    call("evaluate", "--own_pictures", "--data", studio_data / "test", "--num", 4, "--output_dir", tmp_path / "data")
    out = tmp_path / "out/report.md"
    call("report", tmp_path / "data", results / "full", results / "controlnet", "-o", out, "--columns", 3)
    own = json.loads((tmp_path / "data/results.json").read_text())["distances"]
    assert own["fid"]["value"] == pytest.approx(0, abs=1e-3) and own["fid"]["n"] == 4
    report = out.read_text()
    assert report.index("| controlnet |") < report.index("| full |") < report.index("| data |")
    files = {"report.md", "report.test.plot.png", "report.test.pictures.png"}
    assert {path.name for path in out.parent.iterdir()} == files and all(name in report for name in files - {out.name})
    grid = np.asarray(Image.open(out.with_name("report.test.pictures.png")))
    assert grid.shape[0] == 3 * 16
    for line, folder in enumerate((results / "controlnet", results / "full")):
        drawn = np.asarray(Image.open(folder / "images/000002.png"))  # the first sample of the second row
        assert np.array_equal(grid[16 * line : 16 * line + 16, -32:-16], drawn)


def nothing_found(image):
    """A detector."""
    return []


def test_a_detector_scores_the_pictures(runs, studio_data, tmp_path):
    small = ("--data", studio_data / "test", "--num", 2, "--steps", 1, "--output_dir", tmp_path)
    call("evaluate", runs[0] / "text", *small, "--detector", f"{__name__}:nothing_found")
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["detector"] == f"{__name__}:nothing_found"
    assert found["scores"]["detected"] == found["scores"]["pck@0.2"] == [0, 0]


def test_bad_options(start, tmp_path, capsys):
    import arms

    for options in (["--text_only_steps", "0.5"], ["--text_encoder_config", '{"joint_encoding": false}']):
        with pytest.raises(SystemExit):
            arms.main(["train", "full", *options])
        assert "the arm decides" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cached rows"):
        call("train", "full", "--output_dir", tmp_path, *start, "--no_cache")
    with pytest.raises(ValueError, match="--own_pictures"):
        call("evaluate", "--data", tmp_path, "--output_dir", tmp_path)
