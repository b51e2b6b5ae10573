"""How far the hands of stage 1 move when its networks compute in half precision.

    python benchmarks/stage_1_dtypes.py --num 40

For captions of the studio, the hands that a dtype gives are compared with those of float32 at the same seed: the
distances of the 21 joints of every hand that is visible in both, from the camera's place and from the hand's wrist.
"""

import argparse
import random

import torch

from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandParams
from diffusers_handiffuser.studio import describe, sample_scene


def sample(model: str, dtype: torch.dtype, captions: list[str], seed: int) -> tuple[HandParams, torch.Tensor]:
    """Hands, one row per caption, and their joints `(N, 2, 21, 3)` in metres; caption `i` has the seed `seed + i`."""
    pipe = HanDiffuserPipeline.from_pretrained(model, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(captions))]
    hands = pipe.sample_hand_params(captions, hand_generator=generators)
    return hands, pipe.body_model(hands).joints_3d


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=MINI, help="a checkpoint (default: the one in the package)")
    parser.add_argument("--num", type=int, default=40, metavar="N", help="captions (default: 40)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of captions and hands (default: 0)")
    args = parser.parse_args()

    rng = random.Random(args.seed)
    captions = [describe(sample_scene(args.seed, "test", i), rng) for i in range(args.num)]
    reference, joints = sample(args.model, torch.float32, captions, args.seed)
    print(f"{args.num} captions; distances in mm: median, 99 %, largest")
    for dtype in (torch.float16, torch.bfloat16):
        hands, moved = sample(args.model, dtype, captions, args.seed)
        both = reference.hand_visible & hands.hand_visible
        changed = int((reference.hand_visible != hands.hand_visible).sum())
        moved = moved - joints
        for place, offset in (("camera", moved), ("wrist", moved - moved[:, :, :1])):
            distances = 1000 * offset[both].norm(dim=-1)
            numbers = ", ".join(
                f"{value:.2f}" for value in distances.quantile(torch.tensor([0.5, 0.99, 1.0])).tolist()
            )
            print(f"{str(dtype).removeprefix('torch.'):9} from the {place}: {numbers}; {changed} hands come or go")


if __name__ == "__main__":
    main()
