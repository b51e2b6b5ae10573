"""A small network that finds the 21 joints of a studio hand, to judge repaired hands by what the repair did not see.

    handiffuser data make train --num 16000 --seed 0
    python experiments/joint_judge.py train --data train --output judge --max_minutes 15

It looks at the square around the hand that is wanted, as all metrics of hand crops do, and knows its side. It is no
detector: it always answers. `train` prints its error on the last tenth of the rows, which it was not trained on.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation.judges.crops import as_tensor, hand_boxes
from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.utils.command_line import run_as_command

SIZE, MAP = 64, 16
_CHANNELS = (24, 48, 96, 128)
_MARGINS = (0.15, 0.45)
"""The least and the most of a training crop's margin."""
WEIGHTS = "joint_judge.safetensors"


class JointJudge(nn.Module):
    """Crops `(N, 3, 64, 64)` in [0, 1] of right hands, or mirrored left ones, to 21 joints `(N, 21, 2)` in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *_CHANNELS), _CHANNELS, strict=False):
            stride = 2 if outputs != _CHANNELS[-1] else 1
            for number, width in enumerate((inputs, outputs)):
                layers.append(nn.Conv2d(width, outputs, 3, stride if number == 0 else 1, 1, bias=False))
                layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.maps = nn.Sequential(
            nn.Upsample(size=(MAP, MAP), mode="bilinear"),
            nn.Conv2d(_CHANNELS[-1], 96, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(96, 21, 1),
        )
        self.offsets = nn.Linear(_CHANNELS[-1], 42)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        hidden = self.features(2 * crops - 1)
        weights = self.maps(hidden).flatten(2).softmax(-1)
        places = (torch.arange(MAP, device=crops.device) + 0.5) / MAP
        grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).flatten(0, 1)
        return weights @ grid + self.offsets(hidden.mean((-2, -1))).unflatten(1, (21, 2))


def cut(image: Image.Image, joints: np.ndarray, side: int, margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The crop `(3, 64, 64)`, uint8, around the joints (21, 2), pixels, and the joints in it; left hands mirrored."""
    box, _ = hand_boxes(torch.as_tensor(joints), *image.size, margin=margin)
    left, top, right, bottom = box.tolist()
    crop = image.crop((left, top, right, bottom)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    places = (torch.as_tensor(joints).float() - torch.tensor([left, top])) / torch.tensor([right - left, bottom - top])
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)
    if side == 0:
        pixels, places = pixels.flip(-1), torch.stack([1 - places[:, 0], places[:, 1]], -1)
    return pixels, places


@torch.no_grad()
def find_joints(judge: JointJudge, image: Image.Image, wanted: np.ndarray, side: int) -> np.ndarray:
    """Where the judge sees the joints, (21, 2), pixels, in the square around the wanted ones."""
    crop, _ = cut(image, wanted, side, 0.25)
    found = judge(crop[None] / 255)[0]
    if side == 0:
        found[:, 0] = 1 - found[:, 0]
    box, _ = hand_boxes(torch.as_tensor(wanted), *image.size, margin=0.25)
    left, top, right, bottom = box.tolist()
    return (found * torch.tensor([right - left, bottom - top]) + torch.tensor([left, top])).numpy()


def read_crops(dataset: HandDataset, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops `(N, 3, 64, 64)`, uint8, of the rows' visible hands with random margins, and the joints in them."""
    body, generator = HandBodyModel.procedural(), np.random.default_rng(0)
    crops, places = [], []
    for row in rows:
        hands = dataset.hand_params[row].reshape(1)
        if not hands.hand_visible.any():
            continue
        image = Image.fromarray(as_tensor(dataset.picture(row).open()).numpy())
        joints = hand_joints_in_pixels(hands, body, *image.size)[0].numpy()
        for side in hands.hand_visible[0].nonzero()[:, 0].tolist():
            crop, found = cut(image, joints[side], side, generator.uniform(*_MARGINS))
            crops.append(crop)
            places.append(found)
    return torch.stack(crops), torch.stack(places)


def error(judge: JointJudge, crops: torch.Tensor, places: torch.Tensor) -> float:
    """Mean distance of the joints, relative to the longer side of the wanted ones' box."""
    with torch.no_grad():
        found = torch.cat([judge(part / 255) for part in crops.split(200)])
    size = (places.amax(1) - places.amin(1)).amax(-1)
    return float(((found - places).norm(dim=-1).mean(1) / size).mean())


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    dataset = HandDataset(args.data)
    number = min(args.num or len(dataset), len(dataset))
    split = number * 9 // 10
    crops, places = read_crops(dataset, range(split))
    print(f"{len(crops)} hands", flush=True)
    judge = JointJudge().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=args.learning_rate, weight_decay=0.02)
    start, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * min(1.0, 20 * done + 0.02, 1.02 - done)
        chosen = torch.randint(len(crops), (args.batch_size,))
        batch = crops[chosen] / 255
        gain = 1 + 0.2 * torch.randn(len(batch), 3, 1, 1)
        found = judge((batch * gain + 0.03 * torch.randn_like(batch)).clamp(0, 1))
        loss = functional.smooth_l1_loss(found, places[chosen], beta=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        done = max(step / args.max_steps, (time.monotonic() - start) / (60 * args.max_minutes))
        if step % 200 == 0:
            print(f"step {step}  loss {loss.item():.5f}  {done:.0%}", flush=True)
    judge.eval().to(memory_format=torch.contiguous_format)
    args.output.mkdir(parents=True, exist_ok=True)
    save_file(judge.state_dict(), args.output / WEIGHTS)
    print(f"error on held-out rows: {error(judge, *read_crops(dataset, range(split, number))):.4f} hand sizes")


def load(folder: Path) -> JointJudge:
    judge = JointJudge()
    judge.load_state_dict(load_file(folder / WEIGHTS))
    return judge.eval()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command = parser.add_subparsers(required=True).add_parser("train")
    command.add_argument("--data", required=True)
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--num", type=int)
    command.add_argument("--batch_size", type=int, default=64)
    command.add_argument("--learning_rate", type=float, default=2e-3)
    command.add_argument("--max_steps", type=int, default=10**9)
    command.add_argument("--max_minutes", type=float, default=15)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=train)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run_as_command(main)
