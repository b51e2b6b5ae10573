"""Strokes at the edges and of no length; `test_skeletons.py` compares all strokes with OpenCV's."""

import numpy as np
import pytest

from diffusers_handiffuser.rendering.strokes import draw_bone, draw_disc, draw_limb

COLOR = (10, 20, 30)


def drawn(stroke, *arguments, shape=(20, 30)) -> np.ndarray:
    canvas = np.zeros((*shape, 3), np.uint8)
    stroke(canvas, *arguments, COLOR)
    assert {tuple(color) for color in canvas.reshape(-1, 3)} <= {(0, 0, 0), COLOR}
    return canvas.any(-1)


def test_disc():
    lit = drawn(draw_disc, (10, 8), 4)
    assert lit.sum(1)[4:13].tolist() == [1, 5, 7, 7, 9, 7, 7, 5, 1] and lit[8, 6:15].all()


def test_bone_is_three_pixels_wide_with_round_ends():
    lit = drawn(draw_bone, (5, 10), (20, 10))
    assert lit[9:12, 5:21].all() and lit[10, [4, 21]].all() and lit.sum() == 3 * 16 + 2


def test_bone_of_no_length_is_a_point():
    assert np.argwhere(drawn(draw_bone, (5, 10), (5, 10))).tolist() == [[9, 5], [10, 4], [10, 5], [10, 6], [11, 5]]


def test_limb_of_no_length_is_a_line():
    lit = drawn(draw_limb, (10.0, 10.0), (10.2, 10.0), 4)
    assert lit.sum() == 9 and (lit.sum(0) > 0).sum() in (1, 9)


@pytest.mark.parametrize(
    "stroke, arguments",
    [
        (draw_disc, ((0, 0), 4)),
        (draw_disc, ((29, 19), 4)),
        (draw_bone, ((0, 0), (29, 19))),
        (draw_bone, ((29, 0), (29, 19))),
        (draw_limb, ((0.0, 0.0), (29.9, 1.0), 12)),
        (draw_limb, ((29.9, 19.9), (0.0, 19.9), 28)),
    ],
)
def test_what_is_outside_is_cut_off(stroke, arguments):
    """The same on a larger canvas, cropped."""
    small, large = drawn(stroke, *arguments), drawn(stroke, *arguments, shape=(60, 90))
    assert small.any() and np.array_equal(small, large[:20, :30])


def test_a_stroke_beyond_the_canvas_draws_nothing():
    assert not drawn(draw_disc, (50, 5), 4).any() and not drawn(draw_bone, (5, -9), (9, -5)).any()
