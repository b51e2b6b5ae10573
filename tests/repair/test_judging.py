"""The default judge on the studio's images, whose hands are known: a stand-in for a detector."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from studio_hands import SIZE, detected, pair

from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair import HandJudgement, default_judge
from diffusers_handiffuser.repair.defect_network import HandDefectNetwork
from diffusers_handiffuser.repair.judging import GeometricHandJudge
from diffusers_handiffuser.studio.scenes import Scene, pose_scenes


@pytest.fixture(scope="module")
def judge():
    return default_judge()


@pytest.mark.slow
def test_good_hands_are_left_alone(judge):
    for number in range(8):
        image, _, hand, hand_params = pair("blurred", number)
        judgement = judge(image, hand, hand_params)
        assert not judgement.bad, (number, judgement)


def test_a_judgement_says_why(judge):
    image, _, hand, hand_params = pair("blurred", 3)
    judgement = judge(image, hand, hand_params)
    assert isinstance(judgement, HandJudgement) and judgement.reason[0].islower()
    assert {"pixel_error", "beyond_limits"} <= set(judgement.scores)
    assert all(type(score) is float for score in judgement.scores.values())


def test_the_same_hand_gets_the_same_judgement_in_many_threads(judge):
    image, _, hand, hand_params = pair("blurred", 3)
    before = image.copy()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: judge(image, hand, hand_params).scores, range(8)))
    assert all(scores == found[0] for scores in found) and (image == before).all()


def test_images_unlike_the_studios_are_judged_by_geometry_alone():
    """A network that finds everything bad, and nothing like the studio's, has no say; on its own images it has."""
    network = HandDefectNetwork(kinds=("blurred",), near_channels=(4, 8, 8, 8), wide_channels=(4, 8)).eval()
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.data = torch.tensor([-20.0, 20.0])
    image, _, hand, hand_params = pair("blurred", 3)
    for threshold, bad in ((1e6, False), (-1e6, True)):
        network.register_to_config(studio_threshold=threshold)
        judgement = GeometricHandJudge(procedural_body(), network)(image, hand, hand_params)
        assert judgement.bad is bad and judgement.scores["defect"] > 0.99


def test_an_impossible_joint_is_seen_in_any_image(judge):
    image, _, hand, hand_params = pair("blurred", 3)
    noise = np.random.default_rng(0).integers(0, 255, image.shape, dtype=np.uint8)
    pose = torch.zeros(1, 45)
    pose[0, 5] = -1.5 if hand.side == "right" else 1.5
    judgement = judge(noise, hand, hand_params.replace(**{f"{hand.side}_hand_pose": pose}))
    assert judgement.bad and "beyond its limits" in judgement.reason


def test_six_fingers_along_the_outline_are_seen_in_any_image():
    """The outline of an open hand with a further finger, in flat colours that the network has never seen."""
    from test_outline import SKIN, WALL

    from diffusers_handiffuser.rendering.surfaces import draw_mask

    scene = Scene("close_up", {"right": "open_hand"}, {"right": "palm"}, "fair", "bare", "green", "plain", "front", 3)
    truth = pose_scenes([scene], procedural_body())
    hand, hand_params = detected(truth, "right", noise=0.0)
    silhouette = np.array(draw_mask(hand_params, procedural_body(), SIZE, SIZE)[0]) > 0
    judge = default_judge()
    start, middle = hand.landmarks[17], (hand.landmarks[0] + hand.landmarks[9]) / 2
    direction = (start - middle) / np.linalg.norm(start - middle)
    rows, columns = np.indices((SIZE, SIZE)) + 0.5
    offset = np.stack([columns, rows], -1) - start
    length, width = np.ptp(hand.landmarks, 0).max() * np.array([0.53, 0.14])
    along, across = offset @ direction, np.abs(offset[..., 0] * direction[1] - offset[..., 1] * direction[0])
    further = (along > -4) & (along < length) & (across < width / 2)
    for mask, bad in ((silhouette, False), (silhouette | further, True)):
        image = np.where(mask[..., None], SKIN, WALL) + np.random.default_rng(0).normal(0, 3, (SIZE, SIZE, 3))
        judgement = judge(image.clip(0, 255).astype(np.uint8), hand, hand_params)
        assert judgement.bad is bad, judgement
    assert judgement.reason == "six fingers along the outline"


def test_what_is_no_image_or_not_one_hand_is_refused(judge):
    image, _, hand, hand_params = pair("blurred", 3)
    with pytest.raises(ValueError, match="uint8"):
        judge(image / 255, hand, hand_params)
    with pytest.raises(ValueError, match="one visible hand"):
        judge(image, hand, HandParams.zeros(1))


def test_no_shared_photograph_is_touched(judge):
    """They chose no weight and no threshold."""
    from diffusers_handiffuser.detection import fit_hands
    from diffusers_handiffuser.detection.finding import open_detector, read_photograph, search

    if "HANDIFFUSER_PHOTOS" not in os.environ:
        pytest.skip("HANDIFFUSER_PHOTOS names no folder of photographs")
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("needs the extra `detect`")
    files = sorted(Path(os.environ["HANDIFFUSER_PHOTOS"]).glob("*.jpg"))
    judged = {}
    for file in files:
        image = read_photograph(file)
        for hand in search(image, open_detector("mediapipe"), ""):
            judged[file.name] = judge(image, hand, fit_hands([hand], image.shape[1::-1]).hand_params)
    assert len(judged) == len(files)
    assert not {name: one.reason for name, one in judged.items() if one.bad}
