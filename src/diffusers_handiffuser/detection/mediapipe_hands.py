"""MediaPipe as a hand detector."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from . import mediapipe_worker
from .detector import Detection


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
        _check_picture(picture)
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


def _check_picture(picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"`picture` must be uint8 of shape (H, W, 3), got {picture.dtype} {picture.shape}.")
