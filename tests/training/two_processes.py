"""What each of two processes does in `test_many_processes.py`; one start serves several trainings.

python two_processes.py FOLDER PORT...    # with RANK, LOCAL_RANK, WORLD_SIZE as torchrun sets them
"""

import json
import os
import signal
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from small_run import make_run
from stage_2 import train

STEPS = 20
OPTIONS = ("--use_cpu", "--max_train_steps", STEPS, "--checkpointing_steps", STEPS, "--validation_steps", STEPS,
           "--random_flip", "--use_ema", "--text_only_steps", 0.2, "--num_validation_images", 1,
           "--learning_rate", 1e-3, "--joint_loss_weight", 0.1, "--palm_loss_weight", 0.1,
           "--balance_timesteps")  # fmt: skip
SHARDED_STEPS = 4
SHARDED = (*OPTIONS, "--max_train_steps", SHARDED_STEPS, "--checkpointing_steps", 2, "--text_only_steps", 0,
           "--palm_loss_weight", 0)  # fmt: skip
LINE = ("--use_cpu", "--max_train_steps", 6, "--checkpointing_steps", 2, "--train_batch_size", 2)
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "BasicTransformerBlock,TextHandEncoderLayer",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}


def plain(folder: Path) -> None:
    base = ("--pretrained_model_name_or_path", folder / "sd")
    train(folder / "data", folder / "ddp", *base, *OPTIONS, "--train_batch_size", 2)


def sharded(folder: Path) -> None:
    """accelerate knows FSDP on accelerators only: it is told that these two are some."""
    os.environ.update(FSDP)
    base = ("--pretrained_model_name_or_path", folder / "sd")
    for resume in ((), ("--resume_from_checkpoint", "checkpoint-2")):
        PartialState(cpu=True)._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        train(folder / "data", folder / "fsdp", *base, *SHARDED, "--train_batch_size", 2, *resume)
        start_anew()
    for name in FSDP:
        del os.environ[name]


def not_finite(folder: Path) -> None:
    """Row 3 has a loss that is not finite; one of the processes meets it."""
    run, _ = make_run(folder / "nan", *LINE)

    def compute_loss(rows, random):
        loss = run.objective(random.normal(3)).square().mean()
        return {"loss": loss * (float("inf") if 3 in rows and run.step > 2 else 1.0)}

    try:
        run.train(compute_loss)
    except FloatingPointError as error:
        (folder / f"nan-{os.environ['RANK']}.txt").write_text(str(error))
    run.close()


def stopped(folder: Path) -> None:
    """The signal reaches the second process alone."""
    run, _ = make_run(folder / "stopped", *LINE)

    def compute_loss(rows, random):
        if run.step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": run.objective(random.normal(3)).square().mean()}

    try:
        run.train(compute_loss)
    except SystemExit as end:
        (folder / f"stopped-{os.environ['RANK']}.json").write_text(json.dumps([run.step, end.code]))
    run.close()


def start_anew() -> None:
    """Another group of processes, at another port."""
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ["MASTER_PORT"] = PORTS.pop()


if __name__ == "__main__":
    torch.set_num_threads(1)
    PORTS = sys.argv[2:]
    for phase in (plain, sharded, not_finite, stopped):
        start_anew()
        phase(Path(sys.argv[1]))
