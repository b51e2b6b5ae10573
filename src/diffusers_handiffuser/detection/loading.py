"""Hand detectors by name."""

from pathlib import Path

from ..utils.command_line import load_function
from .detector import HandDetector
from .mediapipe_hands import MediaPipeDetector


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
