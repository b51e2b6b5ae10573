"""What an off-the-shelf hand detector finds in an arm's images."""

from collections.abc import Sequence

import torch
from pixels import to_pixels

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation import HandDetector, score_detections
from diffusers_handiffuser.evaluation.metrics.hand_checks import named_sides
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import Scene
from diffusers_handiffuser.studio.gestures import gesture_by_name

SCORES = ("detected", "handedness", "finger_count", "pck@0.2")


def detect_in_scenes(
    detector: HandDetector,
    images: torch.Tensor,
    hands: HandParams,
    rows: Sequence[dict],
    body_model: HandBodyModel,
) -> dict[str, torch.Tensor]:
    """The part of the hands asked for by each row that are found, and found to be what the row asks for.

    A hand that is missed is on no side, has no number of fingers and no joint in its place.

    Args:
        detector (`HandDetector`): finds hands.
        images (`torch.Tensor` of shape `(N, H, W, 3)`): RGB in [0, 1].
        hands (`HandParams` of batch shape `(N,)`): what the images were to show.
        rows (`Sequence[dict]`): N, with `text` and `scene`.
        body_model (`HandBodyModel`): gives the hands' places.

    Returns:
        `dict`, each `(N,)`: `"detected"`; `"handedness"`, NaN where the caption names no side; `"finger_count"`, the
        right number of extended fingers; and `"pck@0.2"`, the part of the joints no further from the hands' than a
        fifth of the hand's size, NaN where `hands` shows none of those asked for.
    """
    height, width = images.shape[1:3]
    joints = hand_joints_in_pixels(hands, body_model, width, height)
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    for number, image in enumerate(to_pixels(images)):
        gestures = Scene(**rows[number]["scene"]).gestures
        found = score_detections(
            list(detector(image.numpy())),
            joints[number],
            torch.tensor([side in gestures for side in SIDES]),
            torch.tensor([len(gesture_by_name(gestures[side]).extended) if side in gestures else 0 for side in SIDES]),
            hands.hand_visible[number].cpu(),
            named_sides(rows[number]["text"]) is not None,
        )
        for name in SCORES:
            scores[name].append(sum(found[name]) / len(found[name]) if found[name] else float("nan"))
    return {name: torch.tensor(values) for name, values in scores.items()}
