"""`evaluate` on tiny pipelines of several kinds, and on images whose scores are known."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation import Detection, FeatureNetwork, evaluate, load_features, read_rows
from diffusers_handiffuser.studio import make_dataset

ROWS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), ROWS, "test", size=64, progress=False).parent


@pytest.fixture(scope="module")
def rows(folder):
    return read_rows(folder)


@pytest.fixture(scope="module")
def bare(rows):
    """The same without scenes: nothing is judged by colour, gesture or the studio judge."""
    return [type(row)(row.text, row.fields, row.picture, row.where, {"text": row.text}) for row in rows]


@pytest.fixture(scope="module")
def features():
    return load_features("studio")


def mean_color(images):
    return images.float().flatten(2).mean(-1)


COLORS = FeatureNetwork("mean color", mean_color, crop_size=16)


def seeds(*numbers):
    return {"generator": [torch.Generator().manual_seed(number) for number in numbers]}


class Oracle:
    """A detector that knows the rows' hands by their images, moved by a part of the hand's size, or mistaken."""

    def __init__(self, rows, shift=0.0, shuffle=0, miss=()):
        body = HandBodyModel.procedural()
        self.answers, self.miss = {}, miss
        for number, row in enumerate(rows):
            other = rows[(number + shuffle) % len(rows)]
            joints = hand_joints_in_pixels(other.hand_params.reshape(1), body, 64, 64)[0]
            size = (joints.amax(1) - joints.amin(1)).amax(-1)
            joints[..., 0] += (shift * size)[:, None]
            visible = other.hand_params.hand_visible.tolist()
            points = joints.double().numpy()
            hands = [Detection(side, points[k], 0.9) for k, side in enumerate(("left", "right")) if visible[k]]
            self.answers[row.picture.square(64).tobytes()] = [] if number in miss else hands

    def __call__(self, picture):
        return self.answers[picture.tobytes()]


class TestOwnImages:
    def test_a_set_against_itself(self, rows, features):
        report = evaluate(None, rows, features, Oracle(rows))
        found = report.estimates["fidelity"]
        assert set(found) == {"fid", "kid", "fid_hands", "kid_hands"}
        for name, estimate in found.items():
            assert abs(estimate.value) < 1e-6, name
        detector = report.estimates["detector"]
        for name in ("detected", "handedness", "pck@0.05"):
            assert detector[name].value == 1, name
        assert detector["joint_error"].value < 1e-5 and detector["confidence"].value == pytest.approx(0.9)
        assert report.estimates["stage_1"]["visibility"].value == 1
        assert report.estimates["stage_1"]["limit_violations"].value == 0
        assert report.estimates["stage_1"]["parameter_fid"].value == pytest.approx(0, abs=1e-6)
        assert report.estimates["colours"]["background"].value > 0.7
        judged = report.estimates["studio_judge"]
        of_all = {"background", "skin", "handedness", "finger_count"}
        assert set(judged) == of_all | {"background_named", "skin_named"}
        assert judged["background"].value > 0.7 and judged["handedness"].value > 0.7
        assert set(report.absent) == {"CLIPScore", "diversity of stage 1"}

    def test_another_set_is_at_a_distance(self, bare, tmp_path):
        other = read_rows(make_dataset(tmp_path, ROWS, "train", 5, size=64, progress=False).parent)
        found = evaluate(None, bare, COLORS, reference=other).estimates["fidelity"]
        assert found["fid"].value > 10 and found["fid_hands"].value > 10 and found["fid"].low < found["fid"].high

    def test_wrong_pairs_and_misses_show(self, bare):
        right = evaluate(None, bare, detector=Oracle(bare)).estimates["detector"]
        wrong = evaluate(None, bare, detector=Oracle(bare, shuffle=1)).estimates["detector"]
        assert wrong["joint_error"].low > right["joint_error"].high
        assert wrong["pck@0.1"].high < right["pck@0.1"].low
        moved = evaluate(None, bare, detector=Oracle(bare, shift=0.2)).estimates["detector"]
        assert moved["joint_error"].value == pytest.approx(0.2, abs=1e-4)
        missed = evaluate(None, bare, detector=Oracle(bare, miss=(0, 1, 2))).estimates["detector"]
        part = (ROWS - 3) / ROWS
        assert missed["detected"].value == pytest.approx(part)
        assert missed["confidence"].value == pytest.approx(0.9 * part)
        assert missed["confidence_found"].value == pytest.approx(0.9) and missed["confidence_found"].n == ROWS - 3

    def test_detectors_may_draw_on_their_image(self, rows):
        """Colours are measured after the detector has had its image."""

        def draws(image):
            image[:] = 0
            return []

        drawn_on = evaluate(None, rows, detector=draws).estimates
        assert drawn_on.pop("detector")["detected"].value == 0
        assert drawn_on == evaluate(None, rows).estimates

    def test_what_is_no_detection_is_refused(self, bare):
        """Pairs for PIL images are what curation took before: never taken here, and never by mistake."""
        points = np.zeros((21, 2))
        for detector in (lambda image: [("left", points)], lambda image: [("left", points)] * image.size[0]):
            with pytest.raises(TypeError, match="detector test_evaluator:.*(one of its hands is|failed on its image)"):
                evaluate(None, bare, detector=detector)

    def test_colors_that_captions_name(self, rows):
        report = evaluate(None, rows)
        for section, name, word in (
            ("colours", "background", "background"),
            ("colours", "skin_within_one", "skin"),
            ("studio_judge", "skin", "skin"),
        ):
            of_all, named = (report.cases[f"{section}/{name}{end}"] for end in ("", "_named"))
            assert named == [score if word in row.text else None for score, row in zip(of_all, rows, strict=True)]

    def test_cases_are_in_the_order_of_the_rows(self, bare):
        report = evaluate(None, bare, detector=Oracle(bare, miss=(2, 5)), batch_size=5)
        assert [number for number, value in enumerate(report.cases["detector/detected"]) if value == 0] == [2, 5]
        assert [value is None for value in report.cases["detector/joint_error"]] == [n in (2, 5) for n in range(ROWS)]


class TestPipelines:
    def test_ours(self, pipe, rows):
        report = evaluate(pipe, rows[:4], COLORS, samples=2, seed=3, batch_size=3)
        assert report.settings["hands"] == "sampled" and report.settings["picture_size"] == 16
        assert {"gesture", "diversity", "side_consistency", "parameter_fid"} <= set(report.estimates["stage_1"])
        assert report.estimates["stage_1"]["gesture"].n == 4 and report.estimates["fidelity"]["fid"].n == 4
        assert report.features["pictures"][0].shape == (8, 3)
        assert report.features["pictures"][1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_seeds_and_batches(self, pipe, bare):
        one, other = (evaluate(pipe, bare[:2], COLORS, samples=2, seed=3, batch_size=b) for b in (1, 2))
        assert torch.allclose(one.features["pictures"][0], other.features["pictures"][0], atol=1.0)
        assert np.abs(np.asarray(one.grid, int) - np.asarray(other.grid, int)).max() <= 2
        again = evaluate(pipe, bare[:2], COLORS, samples=2, seed=4)
        assert not torch.equal(again.features["pictures"][0], other.features["pictures"][0])

    def test_same_images_as_the_pipeline_itself(self, pipe, rows):
        generator = torch.Generator().manual_seed(7)
        picture = np.asarray(pipe(rows[0].text, generator=generator).images[0], int)
        grid = np.asarray(evaluate(pipe, rows[:1], samples=1, seed=7, grid_rows=1).grid, int)
        assert np.abs(grid[:, :16] - picture).max() <= 1

    def test_given_hands(self, pipe, rows):
        report = evaluate(pipe, rows[:2], COLORS, samples=1, given_hands=True)
        assert "stage_1" not in report.estimates and report.absent["stage 1"] == "no hands were sampled"

    def test_arguments_reach_the_pipeline(self, pipe, bare):
        plain = pipe([row.text for row in bare[:2]], hand_conditioning_scale=0.0, output_type="np", **seeds(0, 1))
        without = evaluate(pipe, bare[:2], COLORS, samples=1, hand_conditioning_scale=0.0)
        wanted = mean_color(torch.tensor(plain.images * 255).round().permute(0, 3, 1, 2))
        assert torch.allclose(without.features["pictures"][0], wanted, atol=0.1)
        steps = [evaluate(pipe, bare[:2], samples=1, num_hand_inference_steps=n) for n in (1, 3)]
        assert steps[0].features["parameters"][0].ne(steps[1].features["parameters"][0]).any()

    def test_plain_stable_diffusion(self, clip_text_model, picture_components, make_pipe, rows):
        plain = StableDiffusionPipeline(
            **{**picture_components, "text_encoder": clip_text_model, "scheduler": make_pipe().scheduler},
            safety_checker=None,
            requires_safety_checker=False,
        )
        plain.set_progress_bar_config(disable=True)
        detector = [Detection("left", np.random.default_rng(0).random((21, 2)) * 16, 0.5)]
        report = evaluate(plain, rows[:2], COLORS, lambda picture: detector, samples=1, num_inference_steps=2)
        assert report.settings["pipeline"] == "StableDiffusionPipeline"
        assert "joint error" in report.absent and "joint_error" not in report.estimates["detector"]
        assert report.estimates["detector"]["detected"].value > 0 and "fid" in report.estimates["fidelity"]
        with pytest.raises(ValueError, match="no argument 'wrong'"):
            evaluate(plain, rows[:2], wrong=1)

    def test_controlnet_is_shown_the_rows_hands(self, clip_text_model, picture_components, make_pipe, rows):
        controlnet = ControlNetModel.from_unet(
            picture_components["unet"], conditioning_embedding_out_channels=(16, 32)
        )
        pipe = StableDiffusionControlNetPipeline(
            **{**picture_components, "text_encoder": clip_text_model, "scheduler": make_pipe().scheduler},
            controlnet=controlnet,
            safety_checker=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        seen = []
        prepare = pipe.prepare_image
        pipe.prepare_image = lambda image, *args, **kwargs: seen.append(image) or prepare(image, *args, **kwargs)
        detector = [Detection("left", np.random.default_rng(0).random((21, 2)) * 16, 0.5)]
        report = evaluate(pipe, rows[:2], None, lambda picture: detector, samples=1, num_inference_steps=2)
        assert "joint_error" in report.estimates["detector"]
        wanted = rows[0].hand_params.to_condition("openpose", 16, style="scaled")
        assert isinstance(seen[0][0], Image.Image) and seen[0][0].tobytes() == wanted.tobytes()


def test_data_without_scenes_or_images(pipe, rows):
    plain = [type(row)(row.text, row.fields, None, row.where, {"text": row.text}) for row in rows[:2]]
    report = evaluate(pipe, plain, COLORS, samples=2)
    assert "the row has no image" in report.absent["FID, KID"]
    assert not {"colours", "studio_judge", "fidelity"} & set(report.estimates)
    assert {"side_consistency", "diversity", "parameter_fid"} <= set(report.estimates["stage_1"])
    with pytest.raises(ValueError, match="the row has no image"):
        evaluate(None, plain)
    with pytest.raises(ValueError, match="`rows`"):
        evaluate(None, [])
    with pytest.raises(ValueError, match="`samples`"):
        evaluate(pipe, plain, samples=0)
