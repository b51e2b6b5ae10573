"""How near `fit_hands` comes to hands of the studio, and how long it takes, and MediaPipe on a photograph.

    python benchmarks/fit_hands.py [--num 64] [--photo FILE]

The hands are fitted to their exact joints, in 3D and in the image or in the image alone, one per image. Printed are
the mean distance of the joints in 3D from the true ones, about their middle and at the scale of the image, and the
time of one hand in a batch and alone. With a photograph, and the extra `detect`: the time of `find_hands` on it and on
a grey image of its size.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from diffusers_handiffuser import DetectedHand, find_hands, fit_hands
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.detection.finding import read_photograph
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

SIZE = 512
GREY = 128


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--num", type=int, default=64, metavar="N", help="hands (default: 64)")
    parser.add_argument("--photo", metavar="FILE", help="an image file with a large hand")
    args = parser.parse_args()
    torch.set_num_threads(1)
    body = procedural_body()
    truth = pose_scenes([sample_scene(0, "test", i, "close_up") for i in range(args.num)], body)
    truth = truth.replace(betas=torch.zeros(args.num, 10))
    side = truth.hand_visible.long().argmax(-1)
    row = torch.arange(args.num)
    joints, pixels = body(truth).joints_3d[row, side], hand_joints_in_pixels(truth, body, SIZE, SIZE)[row, side]

    for name, deep in (("3D landmarks", True), ("2D alone", False)):
        hands = [
            [DetectedHand(SIDES[k], pixels[i], 0.9, joints[i] if deep else None)] for i, k in enumerate(side.tolist())
        ]
        fit_hands(hands[:1], (SIZE, SIZE))
        alone = np.median([seconds(lambda one=one: fit_hands(one, (SIZE, SIZE))) for one in hands[:8]])
        start = time.perf_counter()
        fitted = fit_hands(hands, (SIZE, SIZE))
        together = (time.perf_counter() - start) / args.num
        scale = (fitted.hand_params.camera[:, 0] / truth.camera[:, 0])[:, None, None]
        found = body(fitted.hand_params).joints_3d[row, side] * scale
        offsets = (found - found.mean(1, keepdim=True)) - (joints - joints.mean(1, keepdim=True))
        error = 1000 * float(offsets.norm(dim=-1).mean())
        print(f"{name}: {error:.1f} mm, {1000 * together:.0f} ms a hand in a batch, {1000 * alone:.0f} ms alone")

    if args.photo is not None:
        photo = read_photograph(args.photo)
        find_hands(photo)
        print(f"find_hands: {seconds(lambda: find_hands(photo)):.2f} s; ", end="")
        print(f"{seconds(lambda: find_hands(np.full_like(photo, GREY))):.2f} s without hands")


if __name__ == "__main__":
    main()
