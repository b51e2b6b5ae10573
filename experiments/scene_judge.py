"""What the studio's own network makes of the hands in an arm's images: their side, their fingers, their gesture."""

import functools
from collections.abc import Sequence

import torch
from pixels import to_pixels

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation import StudioFeatureNetwork, hand_crops
from diffusers_handiffuser.evaluation.train_features import labels_of_hand
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import Scene


@torch.no_grad()
def judge_scenes(
    images: torch.Tensor, hands: HandParams, scenes: Sequence[Scene], body_model: HandBodyModel
) -> dict[str, torch.Tensor]:
    """The part of the hands in each scene of which the network says what the scene asks for.

    It looks at the crop around the given hand of that side. Where no hand was given, because stage 1 sampled none of
    that side, the answer counts as wrong.

    Args:
        images (`torch.Tensor` of shape `(N, H, W, 3)`): RGB in [0, 1].
        hands (`HandParams` of batch shape `(N,)`): what the images were to show.
        scenes (`Sequence[Scene]`): N.
        body_model (`HandBodyModel`): gives the hands' places.

    Returns:
        `dict`, each `(N,)`: `"judged_side"`, `"judged_gesture"` (the one of 61), and `"judged_fingers"`, the part of
        the five fingers that are judged rightly to be extended or not. NaN where no hand is asked for.
    """
    network = _judge()
    height, width = images.shape[1:3]
    asked = torch.tensor([[side in scene.gestures for side in SIDES] for scene in scenes])
    joints = hand_joints_in_pixels(hands, body_model, width, height)
    pixels = to_pixels(images)
    crops, places = hand_crops(pixels, joints, asked & hands.hand_visible.cpu(), network.input_size)
    right = torch.zeros(3, *asked.shape)
    if len(crops):
        logits = network.logits(network(crops.permute(0, 3, 1, 2)))
        labels = [labels_of_hand(scenes[row], SIDES[side]) for row, side in places.tolist()]
        wanted = {name: torch.stack([label[name] for label in labels]) for name in ("side", "gesture", "fingers")}
        right[:, places[:, 0], places[:, 1]] = torch.stack(
            [
                (logits["side"].argmax(-1) == wanted["side"]).float(),
                (logits["gesture"].argmax(-1) == wanted["gesture"]).float(),
                ((logits["fingers"] > 0) == wanted["fingers"]).float().mean(-1),
            ]
        )
    means = (right * asked).sum(-1) / asked.sum(-1)
    return dict(zip(("judged_side", "judged_gesture", "judged_fingers"), means, strict=True))


@functools.cache
def _judge() -> StudioFeatureNetwork:
    return StudioFeatureNetwork.bundled()
