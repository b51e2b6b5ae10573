"""3. The same on a small GPU: LoRA for U-Net and text tower, with the hand modules trained fully.

    python examples/03_train_lora.py

The result, `run/lora`, holds the LoRA and the encoder with the trained hand modules; its README.md shows how to load
both onto the base model. With `--merge` it is a whole pipeline instead, and the LoRA is in `run/lora/lora`.
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
parser.add_argument("--merge", action="store_true", help="write a whole pipeline")
args = parser.parse_args()

options = {
    "--pretrained_model_name_or_path": args.sd or tiny_stable_diffusion(args.work / "sd"),
    "--text_to_hand_params_dir": args.work / "stage_1",
    "--train_data_dir": args.data or args.work / "data",
    "--output_dir": args.work / "lora",
    "--train_method": "lora",
    "--rank": 16,
    "--max_train_steps": args.steps,
    "--train_batch_size": 4,
    "--gradient_accumulation_steps": 2,
    "--learning_rate": 1e-4,
    "--mixed_precision": "bf16",
    "--resume_from_checkpoint": "latest",
}
if args.sd is None:  # small values for the stand-in
    options |= {"--resolution": 64, "--train_batch_size": 1, "--num_validation_rows": 2, "--logging_steps": 1}
    options |= {"--default_num_inference_steps": 2, "--default_num_hand_inference_steps": 2}

flags = ["--gradient_checkpointing", "--random_flip", *(["--merge_lora"] if args.merge else [])]
hand_params_to_image.main([str(part) for pair in options.items() for part in pair] + flags)
