"""What each of two processes does in `test_deepspeed.py`; one start serves all trainings.

python deepspeed_process.py FOLDER    # with RANK, LOCAL_RANK, WORLD_SIZE as torchrun sets them
"""

import json
import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import stage_2
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from small_run import make_run

STAGES = (1, 2, 3)
OPTIONS = ("--max_train_steps", 6, "--checkpointing_steps", 2, "--logging_steps", 1,
           "--gradient_accumulation_steps", 2)  # fmt: skip
IMAGES = ("--max_train_steps", 3, "--checkpointing_steps", 2, "--validation_steps", 3, "--joint_loss_weight", 0.1,
          "--num_validation_images", 1, "--learning_rate", 1e-3)  # fmt: skip


def train(folder: Path, *options) -> None:
    run, _ = make_run(folder, *OPTIONS, *options)

    def compute_loss(rows, random):
        x = torch.from_numpy(rows).float()[:, None].to(run.device) / 10 + 0.1 * random.normal(3)
        return {"loss": (run.objective(x) - 1).square().mean()}

    run.train(compute_loss, lambda whole: {"sum": whole.linear.weight.sum().item()})
    run.close()


def zero(folder: Path, stage: int) -> None:
    """From now on. Stage 3 would leave weights as small as these where they are."""
    AcceleratorState._reset_state()
    config = {"zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0}}
    path = folder / f"zero {stage} of {os.environ['RANK']}.json"
    path.write_text(json.dumps(config))
    os.environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(path)


def main(folder: Path) -> None:
    for stage in STAGES:
        average = ("--use_ema",) if stage < 3 else ()
        for resume in ((), ("--resume_from_checkpoint", "checkpoint-4")):
            zero(folder, stage)
            train(folder / f"zero {stage}", "--train_batch_size", 2, *average, *resume)
    zero(folder, 3)
    base = ("--pretrained_model_name_or_path", folder / "sd")
    stage_2.train(folder / "data", folder / "images", *base, *IMAGES, "--train_batch_size", 2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # accelerate knows DeepSpeed on accelerators only: it is told that these two processes have one each
    PartialState._prepare_backend = lambda self, *args: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    PartialState.destroy_process_group = lambda self, group=None: None  # the next training wants it
    main(Path(sys.argv[1]))
