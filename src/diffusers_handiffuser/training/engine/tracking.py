"""Logging: stdout, `log.jsonl`, a progress bar, trackers, sample images."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from PIL import Image
from tqdm.auto import tqdm

from .options import TrackingOptions

LOG_NAME = "log.jsonl"
_SECRET_OPTIONS = ("hub_token",)


def check_report_to(report_to: str | None) -> None:
    """Refuses a tracker whose package is not installed, which accelerate would leave out without a word."""
    available = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    if report_to not in (None, "none", "all", *available):
        found = ", ".join(available) or "none"
        raise ValueError(f"`report_to` {report_to}: its package is not installed (trackers found here: {found})")


class RunLog:
    """Logs scalars and images of a run, in the main process.

    Args:
        options (`TrackingOptions`): which trackers.
        folder (`Path`): where `log.jsonl` and `samples/` are written.
        accelerator (`Accelerator`): whose trackers get everything too.
        max_steps (`int`, *optional*): length of the run.
        config (`Mapping[str, Any]`): all options of the program, for the trackers; a token is left out.
    """

    def __init__(
        self,
        options: TrackingOptions,
        folder: Path,
        accelerator: Accelerator,
        max_steps: int | None,
        config: Mapping[str, Any],
    ):
        self.folder, self.accelerator, self.max_steps = folder, accelerator, max_steps
        self.bar: tqdm | None = None
        if options.report_to not in (None, "none"):
            shown = {
                name: value if isinstance(value, (int, float, str, bool)) else str(value)
                for name, value in config.items()
                if name not in _SECRET_OPTIONS
            }
            accelerator.init_trackers(options.tracker_project_name, config=shown)

    def start(self, step: int) -> None:
        """Shows the progress bar, if somebody is looking: at a terminal, in the main process."""
        watched = self.accelerator.is_main_process and sys.stderr.isatty()
        self.bar = tqdm(total=self.max_steps, initial=step, desc="steps", disable=not watched)

    def advance(self, step: int) -> None:
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def numbers(self, step: int, minutes: float, numbers: dict) -> None:
        """One line to stdout and to log.jsonl; the trackers get what is a number."""
        if not self.accelerator.is_main_process:
            return
        minutes = round(minutes, 2)
        with open(self.folder / LOG_NAME, "a") as lines:
            lines.write(json.dumps({"step": step, "minutes": minutes, **numbers}) + "\n")
        shown = " ".join(f"{name} {_short(value)}" for name, value in numbers.items())
        of = f"/{self.max_steps}" if self.max_steps is not None else ""
        tqdm.write(f"step {step}{of} minutes {minutes} {shown}", file=sys.stdout)
        sys.stdout.flush()
        scalars = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
        for tracker in self.accelerator.trackers if scalars else ():
            tracker.log(scalars, step=step)

    def image(self, step: int, name: str, image: np.ndarray) -> Path:
        """Writes a uint8 image (H, W, 3) to `samples/`, gives it to the trackers, and returns its path."""
        path = self.folder / "samples" / f"{step:07d}-{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({name: image[None]}, step=step, **layout)
        return path


def progress(steps: Sequence, what: str, accelerator: Accelerator) -> tqdm:
    """The steps, with a progress bar in the main process: at a terminal as usual, else a line every 15 seconds."""
    watched = sys.stderr.isatty()
    return tqdm(steps, desc=what, disable=not accelerator.is_main_process, mininterval=0.1 if watched else 15)


def image_grid(lines: Sequence[Sequence[np.ndarray] | np.ndarray]) -> np.ndarray:
    """Lines of uint8 images (H, W, 3), of one height within a line, one below the other; short lines end black."""
    joined = [np.concatenate(list(line), axis=1) for line in lines if len(line)]
    width = max(line.shape[1] for line in joined)
    return np.concatenate([np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in joined])


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
