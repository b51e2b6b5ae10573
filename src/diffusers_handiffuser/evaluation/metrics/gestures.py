"""Measures stage 1 alone: are the sampled hands those that a studio caption names?

    python -m diffusers_handiffuser.evaluation.metrics.gestures --data test --num 200 --samples 2

The truth is the `scene` in each row of a data set made by `handiffuser data make`; the caption is all that the model
sees of it. The paper reports no such numbers: the rule below is ours.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from ...hands import HandBodyModel, HandParams
from ...hands.rotations import rotmat_geodesic_distance, rotvec_to_rotmat
from ...hands.skeleton import SIDES
from ...studio import GESTURES, Scene, gesture_by_name
from ...studio.gestures import LONG_FINGERS, Gesture, left_hand_pose
from ...utils.command_line import run_as_command
from ..rows import add_row_options, check_samples, check_studio_rows, hands_of, read_rows, sample_generators
from .distances import frechet_estimate
from .estimates import Estimate, bootstrap_mean
from .hand_checks import limit_violations, parameter_features, side_consistency

_THUMB_BASE, _THUMB_TIP = 2, 4
"""Of OpenPose's 21 joints."""

METRICS = ("visibility", "gesture", "finger_error", "side_consistency", "limit_violations")


class GestureRule:
    """Names the gesture of a hand: the one whose finger rotations are nearest on average over the 15 joints.

    All named gestures of the studio and all 32 combinations of extended fingers compete. Gestures of the same fingers
    (thumbs up and thumbs down) differ by where the thumb points in the picture.
    """

    def __init__(self) -> None:
        combinations = [gesture_by_name(f"fingers_{number:05b}") for number in range(32)]
        self.gestures: tuple[Gesture, ...] = (*GESTURES.values(), *combinations)
        fingers = torch.tensor([[gesture.fingers[finger] for finger in LONG_FINGERS] for gesture in self.gestures])
        poses = left_hand_pose(fingers, torch.tensor([gesture.thumb for gesture in self.gestures]))
        self.rotations = rotvec_to_rotmat(poses.unflatten(-1, (15, 3)))

    def distances(self, left_pose: torch.Tensor) -> torch.Tensor:
        """Mean angles in degrees, `(..., gestures)`, of left-hand poses `(..., 45)` to every gesture."""
        rotations = rotvec_to_rotmat(left_pose.unflatten(-1, (15, 3)))
        return rotmat_geodesic_distance(rotations[..., None, :, :, :], self.rotations).rad2deg().mean(-1)

    def check(self, left_pose: torch.Tensor, thumb_rise: float, name: str) -> tuple[bool, float]:
        """Whether a hand makes the gesture of that name, and how far its fingers are from it.

        Args:
            left_pose (`torch.Tensor` of shape `(45,)`): of the left hand, or of the right one mirrored.
            thumb_rise (`float`): how far the thumb's tip is above its base in the picture.
            name (`str`): of the gesture.

        Returns:
            `tuple`: the verdict, and degrees.
        """
        wanted = gesture_by_name(name)
        distances = self.distances(left_pose)
        same_fingers = [
            gesture.fingers == wanted.fingers and gesture.thumb == wanted.thumb for gesture in self.gestures
        ]
        own = distances[torch.tensor(same_fingers)].min().item()
        thumb_right = wanted.thumb_up * thumb_rise >= 0
        return own <= distances.min().item() and thumb_right, own


def score_hands(
    hand_params: HandParams, scenes: Sequence[Scene], visible: torch.Tensor, body_model: HandBodyModel
) -> dict[str, torch.Tensor]:
    """Scores of hands against the scenes that their captions tell of.

    Args:
        hand_params (`HandParams` of batch shape `(N,)`): what is judged.
        scenes (`Sequence[Scene]`): N.
        visible (`torch.Tensor` of shape `(N, 2)`, bool): which hands, [left, right], a picture of the scene shows.
        body_model (`HandBodyModel`): for the direction of thumbs.

    Returns:
        `dict`: `"visibility"` (1 if just the right hands are visible), `"gesture"` (the part of the raised hands that
        are visible and make their gesture) and `"finger_error"` (degrees, mean over the raised hands), each `(N,)`.
    """
    rule = GestureRule()
    mirrored = hand_params.mirror()  # whose left hand is the right one as a left hand
    left_poses = {"left": hand_params.left_hand_pose, "right": mirrored.left_hand_pose}
    joints = body_model(hand_params.to(body_model.device)).joints_2d.cpu()
    rise = joints[..., _THUMB_BASE, 1] - joints[..., _THUMB_TIP, 1]  # v points down
    right, errors = [], []
    for row, scene in enumerate(scenes):
        verdicts = []
        for side, name in scene.gestures.items():
            place = SIDES.index(side)
            made, error = rule.check(left_poses[side][row], rise[row, place].item(), name)
            verdicts.append((made and bool(hand_params.hand_visible[row, place]), error))
        right.append(sum(verdict for verdict, _ in verdicts) / len(verdicts))
        errors.append(sum(error for _, error in verdicts) / len(verdicts))
    return {
        "visibility": (hand_params.hand_visible == visible).all(-1).float(),
        "gesture": torch.tensor(right),
        "finger_error": torch.tensor(errors),
    }


def evaluate_text_to_hands(
    pipe: Any, rows: Sequence[dict], samples: int = 2, seed: int = 0, batch_size: int = 50
) -> dict[str, Estimate]:
    """Samples hands for the captions of studio rows and scores them.

    Args:
        pipe (`HanDiffuserPipeline`): stage 1 and the body model are used.
        rows (`Sequence[dict]`): of a studio data set: `text`, `scene` and `hand_visible`.
        samples (`int`): per caption; a caption counts once, with the mean of its samples.
        seed (`int`): sample `k` of row `i` draws from the seed `seed + i * samples + k`.
        batch_size (`int`): captions at a time.

    Returns:
        `dict`: an [`Estimate`] for each of `METRICS` that is defined for any caption, `"parameter_fid"` (Fréchet
        distance of the visible hands' finger rotations to those of the rows), and `"diversity"`: degrees between the
        finger rotations of two samples of one caption, if there are two.
    """
    check_samples(samples)
    check_studio_rows(rows)
    scores: dict[str, list[torch.Tensor]] = {name: [] for name in (*METRICS, "diversity")}
    sampled = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        texts = [row["text"] for row in part]
        generators = sample_generators(seed, start, len(part), samples)
        hands = pipe.sample_hand_params(texts, samples, hand_generator=generators)
        scenes = [Scene(**row["scene"]) for row in part for _ in range(samples)]
        visible = torch.tensor([row["hand_visible"] for row in part for _ in range(samples)], dtype=torch.bool)
        found = score_hands(hands, scenes, visible, pipe.body_model)
        found["side_consistency"] = side_consistency(hands, [text for text in texts for _ in range(samples)])
        found["limit_violations"] = limit_violations(hands)
        for name, values in found.items():
            scores[name].append(values.view(len(part), samples).nanmean(1))
        if samples > 1:
            scores["diversity"].append(finger_spread(hands, samples))
        sampled.append(hands.to("cpu"))
    joined = {name: torch.cat(values) for name, values in scores.items() if values}
    defined = {name: values[~values.isnan()] for name, values in joined.items()}
    report = {name: bootstrap_mean(values) for name, values in defined.items() if len(values)}
    mine, theirs = parameter_features(HandParams.cat(sampled)), parameter_features(hands_of(rows))
    if min(len(mine[0]), len(theirs[0])) > 1:
        report["parameter_fid"] = frechet_estimate(mine[0], theirs[0], mine[1] // samples, theirs[1])
    return report


def finger_spread(hands: HandParams, samples: int) -> torch.Tensor:
    """Mean angle, degrees, between the fingers of a caption's first two samples, `(B,)`; visible hands only."""
    poses = torch.stack([hands.left_hand_pose, hands.right_hand_pose], -2).unflatten(-1, (15, 3))
    rotations = rotvec_to_rotmat(poses).unflatten(0, (-1, samples))
    angles = rotmat_geodesic_distance(rotations[:, 0], rotations[:, 1]).rad2deg().mean(-1)
    raised = hands.hand_visible.unflatten(0, (-1, samples))[:, :2].any(1).float()
    return (angles * raised).sum(-1) / raised.sum(-1).clamp(min=1)


def main(argv: Sequence[str] | None = None) -> None:
    from ... import MINI, HanDiffuserPipeline

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_row_options(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    rows = [row.columns for row in read_rows(args.data, args.num)]
    pipe = HanDiffuserPipeline.from_pretrained(args.model or MINI)
    pipe.set_progress_bar_config(disable=True)
    for name, estimate in evaluate_text_to_hands(pipe, rows, args.samples, args.seed).items():
        print(f"{name:16} {estimate}")


if __name__ == "__main__":
    run_as_command(main)
