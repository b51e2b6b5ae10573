"""Random scenes for the studio's camera, and their exact hand parameters.

A scene is one person facing the camera. Close-ups show one raised hand or both; the third kind shows the person from
the waist up. A scene is a function of seed, split and index, so data sets of any size begin with the same rows.
"""

import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from ..hands import HandBodyModel, HandParams
from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import JOINT_NAMES, SIDES
from .arms import arm_rotations, euler_to_rotmat, hand_frame, lowered_arm, raised_arm, turned_arm
from .gestures import GESTURES, LONG_FINGERS, Gesture, finger_gesture, gesture_by_name, left_hand_pose

Color = tuple[float, float, float]

SKIN_TONES: dict[str, Color] = {
    "pale": (0.97, 0.85, 0.78),
    "fair": (0.93, 0.74, 0.63),
    "golden": (0.87, 0.66, 0.44),
    "olive": (0.72, 0.58, 0.42),
    "tan": (0.76, 0.52, 0.36),
    "brown": (0.56, 0.36, 0.24),
    "dark brown": (0.39, 0.24, 0.16),
    "deep": (0.24, 0.15, 0.11),
}
COLORS: dict[str, Color] = {
    "white": (0.93, 0.93, 0.93),
    "gray": (0.52, 0.52, 0.53),
    "black": (0.09, 0.09, 0.10),
    "red": (0.80, 0.14, 0.14),
    "orange": (0.93, 0.52, 0.13),
    "yellow": (0.94, 0.84, 0.22),
    "green": (0.18, 0.60, 0.25),
    "teal": (0.13, 0.60, 0.60),
    "blue": (0.17, 0.34, 0.80),
    "purple": (0.48, 0.22, 0.66),
    "pink": (0.94, 0.56, 0.70),
    "brown": (0.42, 0.28, 0.17),
}
TEXTURES = ("plain", "striped", "checkered", "dotted", "blurry")
LIGHTS: dict[str, tuple[float, float, float]] = {
    "front": (0.0, -0.35, -1.0),
    "left": (-0.95, -0.35, -0.75),
    "right": (0.95, -0.35, -0.75),
    "above": (0.0, -1.0, -0.6),
}
"""Direction towards the light, camera frame (x right, y down, z away from the viewer)."""
KINDS = ("close_up", "two_hands", "person")
HANDLESS_KINDS = ("empty", "hands_hidden")
"""Kinds that are never drawn unless asked for: a background alone, and a person whose hands are out of the image."""
VIEWS = ("palm", "back", "side")
TURNS = ("down", "sideways")
"""Where the fingers of a turned hand point; those of all others point up."""
SPLITS = ("train", "test")
_KIND_WEIGHTS = (0.68, 0.12, 0.20)
_TURNED_KINDS = ("close_up", "person")
_HELD_OUT = 10


@dataclass(frozen=True)
class Scene:
    """The attributes of an image, as words.

    Args:
        kind (`str`): one of `KINDS` or `HANDLESS_KINDS`.
        gestures (`dict` of `str` to `str`): gesture by side; the hand of a missing side is lowered. Empty for
            `HANDLESS_KINDS`.
        views (`dict` of `str` to `str`): by side, what the camera sees of the hand: `"palm"`, `"back"` or `"side"`.
        skin (`str`): one of `SKIN_TONES`.
        sleeve (`str`): one of `COLORS`, or `"bare"`; for a person the colour of the shirt.
        background (`str`): one of `COLORS`.
        texture (`str`): one of `TEXTURES`.
        light (`str`): one of `LIGHTS`.
        seed (`int`): determines everything else: body shape, exact angles, framing, and which way sideways is.
        turns (`dict` of `str` to `str`): by side, where the fingers point if not up: `"down"` or `"sideways"`. Only of
            a single hand, and never of one that extends the thumb alone, whose turn is that of the thumb.

    Raises a `ValueError` that names the field for a word that is not in these tables, or a number of hands that does
    not match the kind.
    """

    kind: str
    gestures: dict[str, str]
    views: dict[str, str]
    skin: str
    sleeve: str
    background: str
    texture: str
    light: str
    seed: int
    turns: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        if self.kind in HANDLESS_KINDS:
            if self.gestures:
                raise ValueError(f"`gestures` of a {self.kind!r} scene must be empty, got {self.gestures}.")
        elif not self.gestures or set(self.gestures) - set(SIDES):
            raise ValueError(f"`gestures` must name a gesture for one or both of {SIDES}, got {self.gestures}.")
        for name in self.gestures.values():
            gesture_by_name(name)
        if self.kind in ("close_up", "two_hands") and len(self.gestures) != 1 + (self.kind == "two_hands"):
            raise ValueError(f"`gestures` of a {self.kind!r} scene cannot be of {len(self.gestures)} hands.")
        if set(self.views) != set(self.gestures) or set(self.views.values()) - set(VIEWS):
            raise ValueError(f"`views` must be one of {VIEWS} for every side of `gestures`, got {self.views}.")
        self._check_turns()
        sleeves = (*COLORS, "bare") if self.kind in ("close_up", "two_hands") else tuple(COLORS)
        for name, words in (
            ("skin", SKIN_TONES),
            ("sleeve", sleeves),
            ("background", COLORS),
            ("texture", TEXTURES),
            ("light", LIGHTS),
        ):
            if getattr(self, name) not in words:
                raise ValueError(f"`{name}` must be one of {', '.join(words)}, got {getattr(self, name)!r}.")

    def to_dict(self) -> dict:
        """The `scene` column of a data set row; `Scene(**row["scene"])` restores the scene."""
        row = asdict(self)
        if not self.turns:
            del row["turns"]
        return row

    @property
    def can_turn(self) -> bool:
        """Whether `turns` may name a turn."""
        names = self.gestures.values()
        single = self.kind in _TURNED_KINDS and len(names) == 1
        return single and all(gesture_by_name(name).extended != {"thumb"} for name in names)

    def turn_of(self, side: str) -> str:
        """Where the fingers of a raised hand point, or its thumb if it stands alone: "up", "down" or "sideways"."""
        if gesture_by_name(self.gestures[side]).thumb_up < 0:
            return "down"
        return self.turns.get(side, "up")

    def _check_turns(self) -> None:
        if set(self.turns) - set(self.gestures) or set(self.turns.values()) - set(TURNS):
            raise ValueError(f"`turns` must be one of {TURNS} for sides of `gestures`, got {self.turns}.")
        if self.turns and not self.can_turn:
            raise ValueError(
                "`turns` is for a single hand that does more than extend its thumb, "
                f"got {self.turns} with {self.gestures}."
            )


def _check_kind(kind: str) -> None:
    if kind not in (*KINDS, *HANDLESS_KINDS):
        raise ValueError(f"`kind` must be one of {(*KINDS, *HANDLESS_KINDS)}, got {kind!r}.")


def is_held_out(gesture: str, side: str, background: str, skin: str) -> bool:
    """Whether a combination is reserved for testing: one in ten, by a checksum of the words that never changes."""
    return zlib.crc32(f"{gesture}|{side}|{background}|{skin}".encode()) % _HELD_OUT == 0


def scene_split(scene: Scene) -> str | None:
    """The split of a scene: `"test"` if every raised hand is a held-out combination, `"train"` if none is.

    `None` if they differ: such a scene belongs to neither split. A scene without hands counts as one combination of
    background and skin.
    """
    hands = scene.gestures or {"none": "none"}
    held_out = {is_held_out(gesture, side, scene.background, scene.skin) for side, gesture in hands.items()}
    return None if len(held_out) == 2 else "test" if held_out == {True} else "train"


def sample_scene(seed: int, split: str, index: int, kind: str | None = None, *, turn: str | None = None) -> Scene:
    """Draws scene `index` of a data set.

    Args:
        seed (`int`): seed of the data set.
        split (`str`): `"train"` or `"test"`.
        index (`int`): index of the row.
        kind (`str`, *optional*): one of `KINDS` or `HANDLESS_KINDS`; by default one of `KINDS` is drawn.
        turn (`str`, *optional*): one of `TURNS`: draws a scene of a single hand whose fingers point there.
    """
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}, got {split!r}.")
    if kind is not None:
        _check_kind(kind)
    if turn is not None and turn not in TURNS:
        raise ValueError(f"`turn` must be one of {TURNS}, got {turn!r}.")
    if turn is not None and kind not in (None, *_TURNED_KINDS):
        raise ValueError(f"`turn` needs a `kind` of {_TURNED_KINDS}, got {kind!r}.")
    rng = random.Random(f"{seed}|{split}|{index}")
    while True:
        scene = _draw_scene(rng, kind)
        if scene_split(scene) != split:
            continue
        if turn is None:
            return scene
        if scene.can_turn:
            return replace(scene, turns=dict.fromkeys(scene.gestures, turn))


def _draw_scene(rng: random.Random, kind: str | None) -> Scene:
    kind = kind or rng.choices(KINDS, _KIND_WEIGHTS)[0]
    if kind in HANDLESS_KINDS:
        return _dressed_scene(rng, kind, {}, {})
    if kind == "two_hands" or (kind == "person" and rng.random() < 0.25):
        sides: tuple[str, ...] = SIDES
    else:
        sides = (rng.choice(SIDES),)
    first = _draw_gesture(rng)
    gestures = {side: first if i == 0 or rng.random() < 0.5 else _draw_gesture(rng) for i, side in enumerate(sides)}
    views = {}
    for side, gesture in gestures.items():
        names, weights = zip(*gesture.views.items(), strict=True)
        views[side] = rng.choices(names, weights)[0]
        if gesture.thumb_up and kind != "close_up":
            # From the other side, the hand would point away from the body and out of the image.
            views[side] = "back" if gesture.thumb_up > 0 else "palm"
    return _dressed_scene(rng, kind, {side: gesture.name for side, gesture in gestures.items()}, views)


def _dressed_scene(rng: random.Random, kind: str, gestures: dict[str, str], views: dict[str, str]) -> Scene:
    bare = kind in ("close_up", "two_hands") and rng.random() < 0.35
    sleeve = "bare" if bare else rng.choice(list(COLORS))
    return Scene(
        kind=kind,
        gestures=gestures,
        views=views,
        skin=rng.choice(list(SKIN_TONES)),
        sleeve=sleeve,
        background=rng.choice(list(COLORS)),
        texture=rng.choices(TEXTURES, (0.56, 0.11, 0.11, 0.11, 0.11))[0],
        light=rng.choice(list(LIGHTS)),
        seed=rng.getrandbits(31),
    )


def _draw_gesture(rng: random.Random) -> Gesture:
    if rng.random() < 0.75:
        return rng.choice(list(GESTURES.values()))
    return finger_gesture(frozenset(f for f in ("thumb", *LONG_FINGERS) if rng.random() < 0.5))


def pose_scenes(scenes: Sequence[Scene], body_model: HandBodyModel) -> HandParams:
    """The exact parameters of scenes, including the camera that frames each of them.

    Args:
        scenes (sequence of [`Scene`]): `B` scenes.
        body_model ([`HandBodyModel`]): the body to be drawn; its size determines the framing.

    Returns:
        [`HandParams`] of batch shape `(B,)`. A hand is visible if the scene raises it and at least 13 of its 21 joints
        lie in the image.
    """
    if not scenes:
        raise ValueError("`scenes` must hold at least one scene.")
    pose, betas = _pose(scenes)
    raised = torch.tensor([[side in scene.gestures for side in SIDES] for scene in scenes])
    camera = torch.tensor([[1.0, 0.0, 0.0]]).expand(len(scenes), 3)
    unframed = HandParams.from_full_pose(pose, betas, camera, raised)
    joints = body_model(unframed.to(body_model.device)).joints_3d[..., :2].cpu()
    camera = torch.stack([_frame(s, joints[i], raised[i]) for i, s in enumerate(scenes)])
    points = camera[:, None, None, :1] * (joints + camera[:, None, None, 1:])
    inside = (points.abs() <= 1).all(-1).sum(-1) >= 13
    return HandParams.from_full_pose(pose, betas, camera, raised & inside)


def _pose(scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """Joint rotations `(B, 52, 3)`, radians, and betas `(B, 10)`; random per scene, geometry in one batch."""
    turns, betas, arms = [], [], []
    for scene in scenes:
        rng = random.Random(scene.seed)
        turns.append([rng.gauss(0, 3), rng.gauss(0, 6), rng.gauss(0, 2)])
        betas.append([rng.gauss(0, 0.6) for _ in range(10)])
        for side in SIDES:
            if side in scene.gestures:
                gesture, view = gesture_by_name(scene.gestures[side]), scene.views[side]
                if side in scene.turns:
                    arms.append(turned_arm(scene.kind, gesture, view, scene.turns[side], _direction(scene), rng))
                else:
                    arms.append(raised_arm(scene.kind, gesture, view, rng))
            else:
                arms.append(lowered_arm(rng))
    shape = (len(scenes), len(SIDES))
    upper = torch.tensor([arm.upper for arm in arms]).view(*shape, 3)
    forearm = torch.tensor([arm.forearm for arm in arms]).view(*shape, 3)
    distal = torch.tensor([arm.distal for arm in arms]).view(*shape, 3)
    turn = torch.tensor([arm.hand_turn for arm in arms]).view(*shape, 3)
    roll, yaw = torch.tensor([[arm.roll, arm.yaw] for arm in arms]).view(*shape, 2).unbind(-1)
    palm = torch.tensor([0.0, 0.0, 1.0]).expand_as(distal)

    none = torch.zeros_like(roll)
    hand = euler_to_rotmat(torch.stack([none, yaw, none], -1)) @ euler_to_rotmat(torch.stack([none, none, roll], -1))
    hand = hand @ euler_to_rotmat(turn) @ hand_frame(distal, palm)
    across = torch.tensor([arm.forearm_follows_hand for arm in arms]).view(*shape, 1)
    rotations = arm_rotations(upper, torch.where(across, hand[..., 0], forearm), hand)
    fingers = left_hand_pose(
        torch.tensor([arm.fingers for arm in arms]).view(*shape, 4, 4),
        torch.tensor([arm.thumb for arm in arms]).view(*shape, 5),
    ).unflatten(-1, (15, 3))

    pose = torch.zeros(len(scenes), 52, 3)
    facing = rotvec_to_rotmat(torch.tensor([math.pi, 0.0, 0.0])) @ euler_to_rotmat(torch.tensor(turns))
    pose[:, 0] = rotmat_to_rotvec(facing)
    for i, side in enumerate(SIDES):
        mirror = torch.tensor([1.0, 1.0, 1.0] if side == "left" else [1.0, -1.0, -1.0])
        joints = [JOINT_NAMES.index(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist")]
        pose[:, joints] = rotations[:, i] * mirror
        first = JOINT_NAMES.index(f"{side}_index1")
        pose[:, first : first + 15] = fingers[:, i] * mirror
    return pose, torch.tensor(betas)


def _direction(scene: Scene) -> int:
    """Where a hand that is turned sideways points: 1 away from the other hand, -1 towards it."""
    return random.Random(scene.seed + 2).choice((-1, 1))


def _image_direction(scene: Scene) -> int:
    """The same in the image, of the only hand: 1 to the right, -1 to the left. The camera faces the person."""
    return _direction(scene) if "left" in scene.gestures else -_direction(scene)


def _frame(scene: Scene, joints: torch.Tensor, raised: torch.Tensor) -> torch.Tensor:
    """`(s, tx, ty)` that frames a scene; `joints` `(2, 21, 2)` in metres."""
    rng = random.Random(scene.seed + 1)
    if scene.kind in HANDLESS_KINDS:
        # From head and shoulders to the chest: the hanging hands are well below.
        scale = rng.uniform(2.7, 4.6)
        top = -0.90 + rng.gauss(0, 0.02)
        return torch.tensor([scale, rng.gauss(0, 0.03), -(top + 1 / scale)])
    if scene.kind == "person":
        scale = rng.uniform(2.15, 2.45)
        middle = [0.0, -0.455]
        if "down" in scene.turns.values():
            scale, middle = scale - 0.13, [0.0, -0.42]
        elif scene.turns and _direction(scene) > 0:
            middle[0] = 0.05 * _image_direction(scene)
        centre = torch.tensor(middle) + torch.tensor([rng.gauss(0, 0.02), rng.gauss(0, 0.015)])
        return torch.tensor([scale, *(-centre).tolist()])
    points = joints[raised].flatten(0, 1)
    low, high = points.amin(0), points.amax(0)
    centre, extent = (low + high) / 2, float((high - low).max()) / 2
    # A fist is not enlarged to the size of an open hand.
    wished = rng.uniform(6.2, 8.0) if scene.kind == "close_up" else rng.uniform(3.9, 4.6)
    scale = min(wished, 0.90 / extent)
    room = max(0.0, 0.95 - scale * extent)
    # A close-up shows the forearm below the hand, so the hand is a little above the centre.
    shift = [0.0, -0.02 * scale if scene.kind == "close_up" else 0.0]
    if "down" in scene.turns.values():
        shift[1] *= -1
    elif scene.turns:
        shift = [0.02 * scale * _image_direction(scene), 0.0]
    offset = [max(-room, min(room, rng.gauss(0, 0.07) + s)) / scale for s in shift]
    return torch.tensor([scale, float(-centre[0]) + offset[0], float(-centre[1]) + offset[1]])
