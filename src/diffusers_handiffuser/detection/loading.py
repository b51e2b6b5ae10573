"""Hand detectors by name."""

from pathlib import Path

from ..utils.command_line import load_function
from .detector import HandDetector
from .mediapipe_hands import MediaPipeDetector


def load_detector(name: str, python: str | Path | None = None) -> HandDetector:
    """The detector of a name, as in the commands' `--detector`.

    Args:
        name (`str`): `"mediapipe"` (of the extra `detect`), a `.task` file, or `MODULE:FUNCTION` for one of your own.
        python (`str` or `Path`, *optional*): deprecated, for the first two: a Python that has MediaPipe.

    Raises:
        ValueError: if the name is none of these, or the module has no such function.
        FileNotFoundError, ImportError: see [`MediaPipeDetector`].
    """
    if name == "mediapipe":
        return MediaPipeDetector(python=python)
    if name.endswith(".task"):
        return MediaPipeDetector(name, python)
    return load_function(name, "--detector", "mediapipe, a .task file or ")
