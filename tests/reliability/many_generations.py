"""Run by test_load.py: many generations in one process; prints memory and live objects, as JSON.

python many_generations.py CHECKPOINT WARM_UP GENERATIONS
"""

import gc
import json
import os
import sys
import time

import torch

from diffusers_handiffuser import HanDiffuserPipeline

SAMPLES = 10


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(checkpoint: str, warm_up: int, generations: int) -> None:
    pipe = HanDiffuserPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    steps = {"num_inference_steps": 1, "num_hand_inference_steps": 1}
    found = {"memory": [], "objects": []}
    hands, start = None, time.perf_counter()
    for i in range(warm_up + generations):
        # Sampled and given hands and none, with and without guidance, texts of every length.
        out = pipe(
            f"a {'very ' * (i % 7)}open hand",
            generator=torch.Generator().manual_seed(i),
            hand_params=hands if i % 3 == 1 else None,
            hand_conditioning_scale=0 if i % 10 == 9 else 1.0,
            guidance_scale=1.0 if i % 5 == 4 else 3.0,
            **steps,
        )
        hands = out.hand_params or hands
        if i >= warm_up - 1 and (i - warm_up + 1) % (generations // SAMPLES) == 0:
            gc.collect()
            found["memory"].append(resident_bytes())
            found["objects"].append(len(gc.get_objects()))
    print(json.dumps({**found, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
