import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.data import Picture
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels, hands_in_square


class TestHandsInTheSquare:
    @pytest.mark.parametrize("size", [(61, 40), (40, 61), (60, 40), (40, 40)])
    def test_are_where_it_shows_them(self, body, hands, tmp_path, size):
        """The middle of a spot in the image is where the square's camera has the fingertip, to a tenth of a pixel."""
        hands = hands[:1].replace(camera=torch.tensor([[0.9, 0.1, 0.3]]))
        tip = hand_joints_in_pixels(hands, body, *size)[0, 1, 8]
        x, y = (np.arange(side) + 0.5 for side in size)
        spot = 255 * np.exp(-((x[None] - float(tip[0])) ** 2 + (y[:, None] - float(tip[1])) ** 2) / 2)
        Image.fromarray(spot.astype(np.uint8)).save(tmp_path / "spot.png")
        square = Picture("here", tmp_path / "spot.png").square(40)[..., 0].astype(float)
        places = np.arange(40) + 0.5
        middle = torch.tensor([(square.sum(0) * places).sum(), (square.sum(1) * places).sum()]) / square.sum()
        shown = hands_in_square(hands, [size], body)
        assert (hand_joints_in_pixels(shown, body, 40, 40)[0, 1, 8] - middle).abs().max() < 0.1
        assert torch.equal(shown.hand_visible, hands.hand_visible)

    def test_are_visible_unless_it_leaves_them_out(self, body, hands):
        both = hands.replace(hand_visible=torch.ones(2, 2, dtype=torch.bool))
        beside = both.replace(camera=torch.tensor([[1.0, 1.0, 0.0]] * 2))  # the left hand, at 1.7
        assert hands_in_square(beside, [(80, 40), (40, 40)], body).hand_visible.tolist() == [[False, True]] * 2
        assert hands_in_square(both, [(80, 40), (40, 80)], body).hand_visible.all()

    def test_are_visible_where_it_shows_a_finger_without_its_joints(self, body, hands):
        """The left hand leaves the square to its right: first its joints, within half a finger its skin."""
        hands = hands.replace(hand_visible=torch.tensor([[True, False]] * 2))
        nearest = body(hands).joints_3d[:, 0, :, 0].amin(-1)
        for beyond, visible in ((0.002, True), (0.02, False)):  # metres
            camera = torch.stack([torch.ones(2), 1 + beyond - nearest, torch.zeros(2)], -1)
            beside = hands.replace(camera=camera)
            assert (body(beside).joints_2d[:, 0, :, 0] > 1).all()
            for sizes in ([(40, 40)] * 2, [(80, 40)] * 2):
                assert hands_in_square(beside, sizes, body).hand_visible[:, 0].tolist() == [visible] * 2
