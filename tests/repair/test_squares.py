import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair.squares import Square


def test_squares_are_moved_into_the_image_or_centred_on_it():
    assert Square.around((10, 20, 30, 30), 2.0, (200, 100)) == Square(0, 5, 40, (200, 100))
    assert Square.around((180, 80, 200, 100), 1.6, (200, 100)) == Square(168, 68, 32, (200, 100))
    wide = Square.around((0, 0, 200, 100), 1.6, (200, 100))
    assert (wide.left, wide.top, wide.side) == (-60, -110, 320)
    assert Square.around((3, 3, 3, 3), 1.6, (200, 100)).side == 8


@pytest.mark.parametrize(
    "square", [Square(4, 2, 6, (20, 15)), Square(-3, -2, 24, (20, 15)), Square(15, 12, 8, (20, 15))]
)
def test_what_is_cut_lies_where_it_is_pasted(square):
    image = np.random.default_rng(0).integers(0, 256, (15, 20, 3)).astype(np.uint8)
    cut = square.cut(image)
    assert cut.shape == (square.side, square.side, 3)
    assert np.array_equal(cut[square.inside_of_square], image[square.inside])
    assert np.array_equal(np.asarray(square.resized(image, square.side)), cut)
    assert isinstance(square.resized(image, 9), Image.Image) and square.resized(image, 9).size == (9, 9)


def test_hands_and_points_keep_their_pixels(hands):
    square, size, body = Square(-30, 40, 200, (320, 240)), 96, procedural_body()
    in_image = torch.from_numpy(
        square.points_to_image(hand_joints_in_pixels(square.to_square(hands, size), body, size, size).numpy(), size)
    )
    torch.testing.assert_close(in_image.float(), hand_joints_in_pixels(hands, body, 320, 240), atol=0.01, rtol=1e-4)
