"""MediaPipe as a hand detector, and the hands in its own results."""

import json
import os
import struct
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..hands.skeleton import SIDES
from . import mediapipe_worker
from .detector import DetectedHand, check_image

TASK_VARIABLE = "HANDIFFUSER_HAND_LANDMARKER"


class MediaPipeDetector:
    """MediaPipe as a [`HandDetector`], in this process or in one of another Python.

    Args:
        task (`str` or `Path`, *optional*): a `.task` file for MediaPipe's tasks API, which reports no confidence. By
            default the file that the environment variable `HANDIFFUSER_HAND_LANDMARKER` names, else the models in the
            wheel of the extra `detect`, with the palm detector's score as the confidence.
        python (`str` or `Path`, *optional*): deprecated: a Python with MediaPipe and numpy, whose process runs until
            `close`. By default MediaPipe is imported here.
        max_hands (`int`): largest number of hands per image.
        min_confidence (`float`): hands below this confidence are not reported.

    Attributes:
        version (`str`): MediaPipe's.
        misses_small_hands (`bool`): true: the palm detector sees the whole image at 192 pixels. [`find_hands`] looks
            for more where all hands are small.

    Raises:
        FileNotFoundError: if there is no such `.task` file.
        ImportError: if MediaPipe cannot be imported.
    """

    misses_small_hands = True

    def __init__(
        self,
        task: str | Path | None = None,
        python: str | Path | None = None,
        max_hands: int = 2,
        min_confidence: float = 0.5,
    ):
        name = "`task`"
        if task is None and os.environ.get(TASK_VARIABLE):
            name, task = TASK_VARIABLE, os.environ[TASK_VARIABLE]
        if task is not None and not Path(task).is_file():
            raise FileNotFoundError(f"{name}: there is no file {str(task)!r}.")
        self._process: subprocess.Popen[bytes] | None = None
        if python is not None:
            warnings.warn(
                "a detector in another Python (`python`, --detector-python) is deprecated: "
                "the extra `detect` installs MediaPipe beside numpy 2.",
                FutureWarning,
                stacklevel=2,
            )
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

    def __call__(self, image: np.ndarray) -> list[DetectedHand]:
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


def mediapipe_hands(result: Any, width: int, height: int, mirrored: bool | None = None) -> list[DetectedHand]:
    """The hands in a result of MediaPipe's own classes.

    The tasks API (developers.google.com, `HandLandmarkerResult`) has `hand_landmarks`, `hand_world_landmarks` and
    `handedness`, the older `mp.solutions.hands` `multi_hand_landmarks`, `multi_hand_world_landmarks` and
    `multi_handedness`. Landmarks are fractions of the image's width and height; world landmarks are metres from the
    middle of the hand.

    Args:
        result: what `HandLandmarker.detect` or `mp.solutions.hands.Hands.process` returns, or an object with the same
            attributes.
        width (`int`): of the image, pixels.
        height (`int`): of the image, pixels.
        mirrored (`bool`, *optional*): whether the handedness is that of a mirrored image. By default, that of
            `mp.solutions` is, that of the tasks API is not.

    Returns:
        `list` of [`DetectedHand`], without confidence: what MediaPipe's results hold is the left/right score.

    Raises:
        TypeError: if the result has another form.
    """
    if hasattr(result, "hand_landmarks"):
        landmarks, sides = result.hand_landmarks, [labels[0].category_name for labels in result.handedness]
        world, mirrored = result.hand_world_landmarks, bool(mirrored)
    elif hasattr(result, "multi_hand_landmarks"):
        landmarks = [hand.landmark for hand in result.multi_hand_landmarks or ()]
        sides = [labels.classification[0].label for labels in result.multi_handedness or ()]
        world = [hand.landmark for hand in getattr(result, "multi_hand_world_landmarks", None) or ()]
        mirrored = True if mirrored is None else mirrored
    else:
        raise TypeError(f"`result` must be one of MediaPipe's hand landmarkers, got {type(result).__name__}.")
    if not len(landmarks) == len(sides) == (len(world) or len(sides)):
        raise ValueError(
            f"`result` must have as many sides and world landmarks as hands, got {len(landmarks)} hands, "
            f"{len(sides)} sides and {len(world)} world landmarks."
        )
    return [
        DetectedHand(
            SIDES[1 - SIDES.index(side.lower())] if mirrored else side.lower(),
            np.array([[point.x * width, point.y * height] for point in points]),
            landmarks_3d=np.array([[point.x, point.y, point.z] for point in deep]) if deep else None,
        )
        for side, points, deep in zip(sides, landmarks, world or [None] * len(sides), strict=True)
    ]


def _detection(hand: dict[str, Any]) -> DetectedHand:
    return DetectedHand(
        hand["side"],
        np.asarray(hand["landmarks"], np.float64),
        None if hand["confidence"] is None else min(1.0, hand["confidence"]),
        np.asarray(hand["landmarks_3d"], np.float64),
    )
