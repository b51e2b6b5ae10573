"""Hands of the studio's images, detected where they are known to be: a stand-in for a detector."""

import random

import numpy as np
import torch

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.detection import DetectedHand, fit_hands
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import Studio, sample_scene
from diffusers_handiffuser.studio.defects import sample_defect
from diffusers_handiffuser.studio.pairs import draw_pairs

SIZE = 192


def pixels(image: torch.Tensor) -> np.ndarray:
    return (image.permute(1, 2, 0) * 255).round().byte().numpy()


def detected(hand_params, side, size=SIZE, noise=0.01):
    """A visible hand as a detector would find it, a little off, and as it is fitted."""
    body, k = procedural_body(), SIDES.index(side)
    points = hand_joints_in_pixels(hand_params, body, size, size)[0, k].numpy()
    generator = np.random.default_rng(0)
    points = points + noise * np.ptp(points, 0).max() * generator.normal(size=points.shape)
    metres = body(hand_params).joints_3d[0, k].numpy() + 0.003 * generator.normal(size=(21, 3))
    hand = DetectedHand(side, points, 0.9, metres)
    return hand, fit_hands([hand], (size, size), trust_sides=True).hand_params


def pair(kind, number, scene_kind="close_up", size=SIZE):
    """A good and a bad image `(size, size, 3)`, and the hand in them, detected and fitted."""
    scene = sample_scene(901, "test", number, scene_kind)
    defect = sample_defect(scene, random.Random(number), kind)
    pairs = draw_pairs(Studio(procedural_body(), size), [scene], [defect])
    return pixels(pairs.good[0]), pixels(pairs.bad[0]), *detected(pairs.hand_params, defect.side, size)
