"""Which hands are one person's."""

import pytest
import torch

from diffusers_handiffuser.detection.people import Reach, group_people, reach_of

LEFT, RIGHT = 0, 1
REACH = Reach(shoulders=0.4, arms=1.0)


def group(sides, wrists, scales=None, images=None):
    scales = torch.full((len(sides),), 100.0) if scales is None else torch.tensor(scales)
    images = [0] * len(sides) if images is None else images
    return group_people(images, sides, torch.tensor(wrists, dtype=torch.float32), scales, REACH)


def test_two_sides_are_one_person_and_two_of_one_side_are_two():
    places = [(50.0, 0.0), (0.0, 0.0)]
    assert group([LEFT, RIGHT], places) == [[0, 1]]
    assert group([RIGHT, LEFT], places) == [[1, 0]]
    assert group([RIGHT, RIGHT], places) == [[0], [1]]
    assert group([LEFT, LEFT], places) == [[0], [1]]


@pytest.mark.parametrize(
    ("offset", "people"),
    [((139, 0), 1), ((141, 0), 2), ((-59, 0), 1), ((-61, 0), 2), ((40, 99), 1), ((40, -101), 2)],
)
def test_reach(offset, people):
    """The left hand is to the right of the right one, at arms crossed a little to its left."""
    assert len(group([LEFT, RIGHT], [offset, (0, 0)])) == people


@pytest.mark.parametrize(("ratio", "people"), [(1.4, 1), (1.6, 2), (1 / 1.4, 1), (1 / 1.6, 2)])
def test_size(ratio, people):
    assert len(group([LEFT, RIGHT], [(0, 0), (10, 0)], [100.0, 100.0 * ratio])) == people


def test_of_several_people_the_nearer_hands_go_together():
    sides, wrists = [RIGHT, LEFT, RIGHT, LEFT, LEFT], [(0, 0), (130, 0), (90, 0), (40, 0), (900, 0)]
    assert group(sides, wrists) == [[3, 0], [1, 2], [4]]


def test_and_those_of_like_size():
    sides, wrists = [RIGHT, LEFT, LEFT], [(0, 0), (30, 0), (40, 0)]
    assert group(sides, wrists, [100.0, 140.0, 100.0]) == [[2, 0], [1]]


def test_images_are_apart():
    assert group([LEFT, RIGHT, RIGHT], [(0, 0)] * 3, images=[0, 1, 0]) == [[0, 2], [1]]


def test_no_hands():
    assert group([], torch.zeros(0, 2).tolist()) == []


def test_reach_of_the_procedural_body(body):
    """Shoulders of 36 cm and arms of half a metre."""
    assert reach_of(body) == pytest.approx((0.36, 1.02), abs=0.01)
