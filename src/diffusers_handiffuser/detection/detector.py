"""Hand detectors: what one is to the evaluation, and MediaPipe as one."""

import json
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..hands.skeleton import SIDES
from ..utils.command_line import load_function
from . import mediapipe_worker


@dataclass(frozen=True, eq=False)
class Detection:
    """A hand that was found.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        landmarks (`np.ndarray` of shape `(21, 2)`): (x, y) in pixels, OpenPose order.
        confidence (`float`, *optional*): that there is a hand, in [0, 1]; not how sure its side is. None where the
            detector does not tell.
        landmarks_3d (`np.ndarray` of shape `(21, 3)`, *optional*): metres; origin and axes do not matter.
    """

    side: str
    landmarks: np.ndarray
    confidence: float | None = None
    landmarks_3d: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"`side` must be one of {SIDES}, got {self.side!r}.")
        if np.shape(self.landmarks) != (21, 2) or not np.isfinite(self.landmarks).all():
            raise ValueError(f"`landmarks` must be finite, of shape (21, 2), got {np.shape(self.landmarks)}.")
        if self.landmarks_3d is not None and np.shape(self.landmarks_3d) != (21, 3):
            raise ValueError(f"`landmarks_3d` must have shape (21, 3), got {np.shape(self.landmarks_3d)}.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"`confidence` must be between 0 and 1, got {self.confidence}.")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, pixels."""
        low, high = np.min(self.landmarks, 0), np.max(self.landmarks, 0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class HandDetector(Protocol):
    """Finds the hands in a picture: `(H, W, 3)` uint8, RGB."""

    def __call__(self, picture: np.ndarray, /) -> Sequence[Detection]: ...


class MediaPipeDetector:
    """MediaPipe, in this process or in another Python's.

    Args:
        task (`str` or `Path`, *optional*): a `.task` file for the tasks API, which tells no confidence. By default
            the models in the wheel of MediaPipe 0.10.21 are used, with the palm detector's score as confidence.
        python (`str` or `Path`, *optional*): a Python with MediaPipe and numpy; it runs until `close`. By default
            MediaPipe is imported here.
        max_hands (`int`): hands to look for.
        min_confidence (`float`): what is less sure than that is not reported.

    Attributes:
        version (`str`): of MediaPipe.
    """

    def __init__(
        self,
        task: str | Path | None = None,
        python: str | Path | None = None,
        max_hands: int = 2,
        min_confidence: float = 0.5,
    ):
        if task is not None and not Path(task).is_file():
            raise FileNotFoundError(f"`task`: there is no file {str(task)!r}.")
        self._process: subprocess.Popen[bytes] | None = None
        if python is not None:
            command = [str(python), mediapipe_worker.__file__, "--max_hands", str(max_hands)]
            command += ["--min_confidence", str(min_confidence), *(() if task is None else ("--task", str(task)))]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            answer = self._answer()
            if "error" in answer:
                raise ImportError(f"the detector in {python} did not start: {answer['error']}")
            self.version = answer["version"]
            return
        if task is None:
            self._detect = mediapipe_worker.with_solutions(max_hands, min_confidence)
        else:
            self._detect = mediapipe_worker.with_task(str(task), max_hands, min_confidence)
        self.version = mediapipe_worker.mediapipe_version()

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        check_picture(picture)
        if self._process is None:
            return [_detection(hand) for hand in self._detect(picture)]
        if self._process.stdin is None:
            raise ValueError("the detector was closed")
        height, width = picture.shape[:2]
        try:
            self._process.stdin.write(struct.pack("<II", height, width) + np.ascontiguousarray(picture).tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_answer` tells how it ended
        return [_detection(hand) for hand in self._answer()]

    def _answer(self) -> Any:
        process = self._process
        if process is None or process.stdout is None:
            raise ValueError("the detector was closed")
        line = process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the detector's process ended with code {process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the other Python, if there is one."""
        if self._process is not None:
            self._process.communicate()


def _detection(hand: dict[str, Any]) -> Detection:
    return Detection(
        hand["side"],
        np.asarray(hand["landmarks"], np.float64),
        None if hand["confidence"] is None else min(1.0, hand["confidence"]),
        np.asarray(hand["landmarks_3d"], np.float64),
    )


def check_picture(picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"`picture` must be uint8 of shape (H, W, 3), got {picture.dtype} {picture.shape}.")


def load_detector(name: str, python: str | Path | None = None) -> HandDetector:
    """The detector that a command names.

    Args:
        name (`str`): `"mediapipe"` (the wheel with models), a `.task` file, or `MODULE:FUNCTION` for one of your own.
        python (`str` or `Path`, *optional*): for the first two: which Python has MediaPipe.
    """
    if name == "mediapipe":
        return MediaPipeDetector(python=python)
    if name.endswith(".task"):
        return MediaPipeDetector(name, python)
    return load_function(name, "--detector")
