"""Do hands do what a text says of them? Everything that it says is scored, and nothing that it leaves open."""

import functools
from collections.abc import Sequence

import torch

from ...hands import HandBodyModel, HandParams
from ...hands.skeleton import SIDES
from ...studio import GESTURES, gesture_by_name
from .gestures import GestureRule
from .hand_directions import (
    facing_viewer,
    finger_direction,
    palm_size,
    thumb_direction,
    turn_name,
    view_name,
)
from .hand_facts import EITHER, HandFacts, TextFacts

BY_GESTURE = "by_gesture/"
"""Before the name of a gesture, the name of the score of its fingers."""
FINGER_BY_FINGER = "finger_by_finger"
_SAME_DEGREES = 1.0
"""Gestures that are nearer to each other on average over the 15 joints are one: "pointing" and "index finger extended"
differ by 0.3 degrees and people by 3. Of gestures that look different, peace and a scout's salute are the nearest."""
_LARGE_PALM = 0.35
"""Of [`palm_size`]. On the studio's training scenes it is below 0.26 on a person, and 0.49 or more in a close-up."""
_JOINTS_IN_IMAGE = 11
"""Of 21: more than half."""


class SeenHands:
    """What a viewer sees of hands: gestures, views, turns, and where they lie in the image.

    Args:
        hand_params ([`HandParams`] of batch shape `(N,)`): the hands.
        body_model ([`HandBodyModel`]): poses them.
    """

    @torch.no_grad()
    def __init__(self, hand_params: HandParams, body_model: HandBodyModel):
        geometry = body_model(hand_params.to(body_model.device))
        hand_params = hand_params.to("cpu")
        self.visible = hand_params.hand_visible
        self._joints_2d, joints_3d = geometry.joints_2d.cpu(), geometry.joints_3d.cpu()
        left_poses = torch.stack([hand_params.left_hand_pose, hand_params.mirror().left_hand_pose], -2)
        self._nearest = _rule().distances(left_poses).argmin(-1)
        self._facing = facing_viewer(joints_3d)
        self.in_image = (self._joints_2d.abs() <= 1).all(-1).sum(-1) >= _JOINTS_IN_IMAGE
        self.is_large = palm_size(joints_3d, hand_params.camera) >= _LARGE_PALM

    def gesture(self, row: int, place: int) -> str:
        """The name of the gesture whose fingers are nearest to those of a hand: left is place 0, right 1."""
        return _rule().gestures[int(self._nearest[row, place])].name

    def view(self, row: int, place: int) -> str:
        """`"palm"`, `"back"` or `"side"`."""
        return view_name(self._facing[row, place].item())

    def turn(self, row: int, place: int, said: HandFacts) -> str:
        """`"up"`, `"down"` or `"sideways"`: where the part points that a text speaks of."""
        joints = self._joints_2d[row, place]
        if said.turned_part == "thumb":
            return turn_name(thumb_direction(joints))
        extended = gesture_by_name(said.gestures[0]).extended if said.gestures else frozenset[str]()
        return turn_name(finger_direction(joints, extended))

    def describe(self, row: int) -> str:
        """The visible hands in words: `"left peace, palm, up"`."""
        hands = []
        for place, side in enumerate(SIDES):
            if self.visible[row, place]:
                name = self.gesture(row, place)
                turn = self.turn(row, place, HandFacts((name,)))
                hands.append(f"{side} {name}, {self.view(row, place)}, {turn}")
        return "; ".join(hands) or "no hand"


def score_texts(
    hand_params: HandParams, facts: Sequence[TextFacts], body_model: HandBodyModel
) -> dict[str, torch.Tensor]:
    """Scores of hands against what texts say of them.

    Args:
        hand_params ([`HandParams`] of batch shape `(N,)`): what is judged.
        facts (`Sequence[TextFacts]`): N.
        body_model ([`HandBodyModel`]): poses the hands.

    Returns:
        `dict`: scores `(N,)` from 0 to 1, NaN where a text does not say it. Each is the mean over the hands that the
        text speaks of; one that is not visible counts as 0, and one whose side is left open is the best of those
        visible. docs/evaluation.md defines the scores.
    """
    return score_seen(SeenHands(hand_params, body_model), facts)


def score_seen(seen: SeenHands, facts: Sequence[TextFacts]) -> dict[str, torch.Tensor]:
    """The same as [`score_texts`], of hands that were looked at before."""
    found: dict[str, torch.Tensor] = {}
    for row, said in enumerate(facts):
        for name, value in _row_scores(seen, row, said).items():
            found.setdefault(name, torch.full((len(facts),), torch.nan))[row] = value
    return found


def _row_scores(seen: SeenHands, row: int, said: TextFacts) -> dict[str, float]:
    visible = seen.visible[row].tolist()
    places = [place for place, is_visible in enumerate(visible) if is_visible]
    if said.number == 0:
        return {"no_hands": float(not places)}
    scores: dict[str, list[float]] = {}
    for side, hand in said.hands.items():
        candidates = places if side == EITHER else [place for place in places if place == SIDES.index(side)]
        for name, rights in _hand_scores(seen, row, candidates, hand).items():
            scores.setdefault(name, []).append(float(any(rights)))
    if said.hands or said.number:
        scores["some_hands"] = [float(bool(places))]
    if said.side is not None:
        scores["side"] = [float(visible == [side == said.side for side in SIDES])]
    if said.number is not None:
        scores["number"] = [float(len(places) == said.number)]
    if places:
        scores["in_image"] = [float(seen.in_image[row, place]) for place in places]
    if said.shot is not None:
        scores["shot"] = [float(any(seen.is_large[row, place] == (said.shot == "close_up") for place in places))]
        scores[f"shot_{said.shot}"] = scores["shot"]
    return {name: sum(values) / len(values) for name, values in scores.items()}


def _hand_scores(seen: SeenHands, row: int, places: Sequence[int], said: HandFacts) -> dict[str, list[bool]]:
    """Whether each of the hands is as a text says one is."""
    scores = {}
    if said.gestures:
        accepted = frozenset[str]().union(*map(same_gestures, said.gestures))
        scores["fingers"] = [seen.gesture(row, place) in accepted for place in places]
        first = said.gestures[0]
        scores[BY_GESTURE + (first if first in GESTURES else FINGER_BY_FINGER)] = scores["fingers"]
    if said.view is not None:
        scores["view"] = scores[f"view_{said.view}"] = [seen.view(row, place) == said.view for place in places]
    if said.turn is not None:
        scores["turn"] = [seen.turn(row, place, said) == said.turn for place in places]
        scores[f"turn_{said.turned_part}_{said.turn}"] = scores["turn"]
    return scores


@functools.cache
def same_gestures(name: str) -> frozenset[str]:
    """The gestures whose fingers cannot be told from those of the named one, which is among them."""
    rule = _rule()
    names = [gesture.name for gesture in rule.gestures]
    poses = rule.left_poses[names.index(name)]
    near = rule.distances(poses) < _SAME_DEGREES
    return frozenset(other for other, is_near in zip(names, near.tolist(), strict=True) if is_near)


@functools.cache
def _rule() -> GestureRule:
    return GestureRule()
