"""MediaPipe as a hand detector."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from . import mediapipe_worker
from .detector import Detection, check_image


class MediaPipeDetector:
    """MediaPipe as a [`HandDetector`], in this process or in one of another Python.

    Args:
        task (`str` or `Path`, *optional*): a `.task` file for MediaPipe's tasks API, which reports no confidence. By
            default the models in the wheel of MediaPipe 0.10.21, with the palm detector's score as the confidence.
        python (`str` or `Path`, *optional*): a Python with MediaPipe and numpy, whose process runs until `close`. By
            default MediaPipe is imported here.
        max_hands (`int`): largest number of hands per image.
        min_confidence (`float`): hands below this confidence are not reported.

    Attributes:
        version (`str`): MediaPipe's.

    Raises:
        FileNotFoundError: if there is no such `.task` file.
        ImportError: if MediaPipe cannot be imported.
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

    def __call__(self, image: np.ndarray) -> list[Detection]:
        check_image(image)
        if self._process is None:
            return [_detection(hand) for hand in self._detect(image)]
        if self._process.stdin is None or self._process.stdin.closed:
            raise ValueError("the detector was closed")
        height, width = image.shape[:2]
        try:
            self._process.stdin.write(struct.pack("<II", height, width) + np.ascontiguousarray(image).tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_answer` reports how the process ended
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
        """Ends the process of the other Python, if there is one."""
        if self._process is not None:
            self._process.communicate()


def _detection(hand: dict[str, Any]) -> Detection:
    return Detection(
        hand["side"],
        np.asarray(hand["landmarks"], np.float64),
        None if hand["confidence"] is None else min(1.0, hand["confidence"]),
        np.asarray(hand["landmarks_3d"], np.float64),
    )
