"""5. Load the published pipeline with diffusers' own class and draw an image.

    python examples/05_generate.py --user me

writes `picture.png` and `preview.png` (image, 3D hands, and the skeleton over the image) to `run/`.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

import diffusers_handiffuser  # noqa: F401  registers the pipeline with diffusers
from diffusers_handiffuser.rendering.drawing import draw_preview

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--work", type=Path, default=Path("run"), help="where the images are written")
parser.add_argument("--user", required=True, help="whose my-handiffuser it is")
parser.add_argument("--prompt", default="a right hand making a peace sign")
args = parser.parse_args()

pipe = DiffusionPipeline.from_pretrained(f"{args.user}/my-handiffuser")
pipe.to("cuda" if torch.cuda.is_available() else "cpu")
out = pipe(args.prompt, generator=torch.Generator().manual_seed(0))

args.work.mkdir(parents=True, exist_ok=True)
out.images[0].save(args.work / "picture.png")
draw_preview(out.images, out.hand_params, pipe.body_model).save(args.work / "preview.png")
print(f"{args.work / 'preview.png'}: {out.hand_params.hand_visible.tolist()[0]} [left, right] hand in the image")
