"""2. From captions and hands to images: train stage 2, starting from Stable Diffusion, as in the paper.

    python examples/02_train_stage_2.py

Run example 1 first: its stage 1 becomes part of the result, `run/stage_2`, which is a whole pipeline. Everything but
the VAE is trained. With your own data and checkpoint (24 GB with `--use_8bit_adam`, see docs/training.md):

    python examples/02_train_stage_2.py --sd stable-diffusion-v1-5/stable-diffusion-v1-5 --data my-pictures \\
        --steps 100000
"""

import argparse
from pathlib import Path

from tiny_stable_diffusion import tiny_stable_diffusion

from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--work", type=Path, default=Path("run"), help="where everything is written")
parser.add_argument("--sd", help="Stable Diffusion 1.x: folder, Hub id or single file (default: a tiny stand-in)")
parser.add_argument("--data", type=Path, help="folder with a metadata.jsonl and images (default: that of example 1)")
parser.add_argument("--steps", type=int, default=4)
args = parser.parse_args()

options = {
    "--pretrained_model_name_or_path": args.sd or tiny_stable_diffusion(args.work / "sd"),
    "--text_to_hand_params_dir": args.work / "stage_1",
    "--train_data_dir": args.data or args.work / "data",
    "--output_dir": args.work / "stage_2",
    "--max_train_steps": args.steps,
    "--learning_rate": 1e-5,
    "--resume_from_checkpoint": "latest",
    "--checkpoints_total_limit": 2,
    "--validation_prompts": "a right hand making a peace sign",
}
if args.sd is None:  # small values for the stand-in
    options |= {"--resolution": 64, "--train_batch_size": 2, "--num_validation_rows": 2, "--logging_steps": 1}
    options |= {"--default_num_inference_steps": 2, "--default_num_hand_inference_steps": 2}

flags = ["--random_flip", "--use_ema", *(["--gradient_checkpointing", "--mixed_precision", "bf16"] if args.sd else [])]
hand_params_to_image.main([str(part) for pair in options.items() for part in pair] + flags)
