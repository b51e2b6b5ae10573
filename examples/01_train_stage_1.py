"""1. From captions to 3D hands: train stage 1.

    python examples/01_train_stage_1.py

draws a few rows of the studio's data and trains for a few steps, in a minute. With your own data and checkpoint:

    python examples/01_train_stage_1.py --sd stable-diffusion-v1-5/stable-diffusion-v1-5 --data my-pairs --steps 200000

On several GPUs, pass the same options to `accelerate launch -m diffusers_handiffuser.training.text_to_hand_params`;
see docs/training.md. The result, `run/stage_1`, is a pipeline that samples hands: `pipe.sample_hand_params("a fist")`.
"""

import argparse
from pathlib import Path

from tiny_stable_diffusion import tiny_stable_diffusion

from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.training.text_to_hand_params import trainer as text_to_hand_params

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--work", type=Path, default=Path("run"), help="where everything is written")
parser.add_argument("--sd", help="Stable Diffusion 1.x: a folder or Hub id (default: a tiny stand-in)")
parser.add_argument("--data", type=Path, help="folder with a metadata.jsonl (default: a few rows of the studio)")
parser.add_argument("--steps", type=int, default=4)
args = parser.parse_args()

data = args.data or args.work / "data"
if not (data / "metadata.jsonl").is_file():
    make_dataset(data, num=10, size=64)

options = {
    "--pretrained_model_name_or_path": args.sd or tiny_stable_diffusion(args.work / "sd"),
    "--train_data_dir": data,
    "--output_dir": args.work / "stage_1",
    "--max_train_steps": args.steps,
    "--learning_rate": 1e-4,
    "--lr_scheduler": "cosine",
    "--resume_from_checkpoint": "latest",
    "--checkpoints_total_limit": 2,
    "--validation_prompts": "a right hand making a peace sign",
}
if args.sd is None:  # small values for the stand-in
    small = '{"hidden_size": 32, "num_layers": 2, "num_attention_heads": 2}'
    options |= {"--model_config": small, "--train_batch_size": 4, "--num_validation_rows": 2, "--logging_steps": 1}
    options |= {"--num_hand_inference_steps": 2}

text_to_hand_params.main([str(part) for pair in options.items() for part in pair] + ["--random_flip", "--use_ema"])
