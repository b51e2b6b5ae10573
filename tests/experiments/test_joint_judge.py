"""experiments/joint_judge.py: crops and joints belong together, for both sides, and the way back is exact."""

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.mark.parametrize("side", [0, 1])
def test_joints_go_to_the_crop_and_back(side):
    from joint_judge import SIZE, cut, find_joints

    joints = np.stack([np.linspace(40, 75, 21), np.linspace(82, 60, 21)], -1)
    image = Image.new("RGB", (160, 120))
    for x, y in joints.round().astype(int).tolist():
        image.putpixel((x, y), (255, 255, 255))
    crop, places = cut(image, joints, side, 0.25)
    bright = (crop.float().mean(0) > 60).nonzero().flip(-1) + 0.5
    assert (torch.cdist(places * SIZE, bright).amin(1) < 3).all()
    assert torch.allclose(
        torch.tensor(find_joints(lambda crops: places[None], image, joints, side)), torch.tensor(joints).float()
    )


def test_it_learns(studio_data, tmp_path, capsys):
    from joint_judge import load, main

    errors = []
    for steps in ("1", "60"):
        options = ["--max_steps", steps, "--batch_size", "8", "--learning_rate", "0.004"]
        main(["train", "--data", str(studio_data / "train"), "--output", str(tmp_path / steps), *options])
        errors.append(float(capsys.readouterr().out.split()[-3]))
    assert errors[1] < errors[0]
    assert load(tmp_path / "60")(torch.zeros(2, 3, 64, 64)).shape == (2, 21, 2)
