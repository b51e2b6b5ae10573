"""What each of two processes does in `test_deepspeed.py`: python deepspeed_process.py FOLDER RESUME

accelerate knows DeepSpeed on accelerators only: it is told that these two processes have one each.
"""

import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"
sys.path.insert(0, str(Path(__file__).parent))

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from test_run import make_run

OPTIONS = ("--max_train_steps", 6, "--checkpointing_steps", 2, "--logging_steps", 1, "--use_ema",
           "--gradient_accumulation_steps", 2)  # fmt: skip


def train(folder: Path, *options) -> None:
    run, _ = make_run(folder, *OPTIONS, *options)

    def compute_loss(rows, random):
        x = torch.from_numpy(rows).float()[:, None].to(run.device) / 10 + 0.1 * random.normal(3)
        return {"loss": (run.objective(x) - 1).square().mean()}

    run.train(compute_loss, lambda whole: {"sum": whole.linear.weight.sum().item()})
    run.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    PartialState._prepare_backend = lambda self, *args: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    resume = ("--resume_from_checkpoint", sys.argv[2]) if sys.argv[2] != "none" else ()
    train(Path(sys.argv[1]), "--train_batch_size", 2, *resume)
