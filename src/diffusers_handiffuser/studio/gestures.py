"""Named gestures and finger-by-finger poses, from anatomical angles to SMPL-H's 45 pose parameters.

Angles are those of the left hand, in degrees: flexion bends towards the palm, abduction is positive towards the thumb.
The right hand is the mirror image. Where a thumb rests on a finger, its angles are the stored solution of a least
squares fit on the procedural hand that brings the skins into contact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import FINGERS
from ..utils.suggestions import did_you_mean

LONG_FINGERS = ("index", "middle", "ring", "pinky")

# The rest pose of the procedural left hand, in its own frame: x towards the fingertips, y out of the back of the hand,
# z towards the thumb. Splay is measured in the palm from x to z, tilt towards the palm.
_SPLAY = {"index": 6.0, "middle": 1.0, "ring": -4.5, "pinky": -12.0}
_TILT = 2.0
_THUMB_SEGMENTS = ((46.0, 17.0), (38.0, 14.0), (34.0, 12.0))
_THUMB_PAD = (0.30, -0.62, -0.72)

STRAIGHT = (2.0, 3.0, 2.0)
CURLED = {
    "index": (82.0, 104.0, 66.0, -2.0),
    "middle": (86.0, 106.0, 68.0, -1.0),
    "ring": (88.0, 106.0, 68.0, 2.0),
    "pinky": (88.0, 102.0, 66.0, 6.0),
}
THUMB_OUT = (-4.0, -12.0, 0.0, -6.0, -8.0)
# Folded thumbs: across the fist, on the ring finger, over the palm.
_THUMB_ON_MIDDLE = (27.8, 30.0, 47.7, 35.0, 37.1)
_THUMB_ON_RING = (31.4, 43.9, 54.2, 45.1, 32.7)
_THUMB_ON_PINKY = (22.2, 48.0, 40.0, 60.0, 18.5)
_THUMB_OVER_PALM = (34.0, 34.0, 30.0, 40.0, 45.0)


@dataclass(frozen=True)
class Gesture:
    """A hand pose with its names.

    Args:
        name (`str`): identifier, as used in data set rows.
        phrases (`tuple` of `str`): names for captions, with an article; used after "a hand making" or alone.
        fingers (`dict`): `(knuckle, middle, end flexion, abduction)` of index, middle, ring and pinky, degrees.
        thumb (`tuple`): opposition, adduction, twist, knuckle and end flexion, degrees.
        extended (`frozenset` of `str`): the fingers a viewer would count as extended.
        views (`dict`): probabilities of the views from the palm, the back and the side.
        thumb_up (`float`): 1 rotates the hand in the image plane until the thumb points up, -1 until it points down;
            0 leaves the fingers up.
    """

    name: str
    phrases: tuple[str, ...]
    fingers: dict[str, tuple[float, ...]]
    thumb: tuple[float, ...]
    extended: frozenset[str]
    views: dict[str, float] = field(default_factory=lambda: {"palm": 0.5, "back": 0.35, "side": 0.15})
    thumb_up: float = 0.0


def _gesture(
    name: str,
    phrases: str,
    extended: str = "",
    thumb: Sequence[float] = _THUMB_ON_MIDDLE,
    views: Sequence[float] | None = None,
    thumb_up: float = 0.0,
    **fingers: Sequence[float],
) -> Gesture:
    up = frozenset(extended.split())
    angles = {}
    for finger in LONG_FINGERS:
        given = fingers.get(finger)
        if given is None:
            given = (*STRAIGHT, 0.0) if finger in up else CURLED[finger]
        elif len(given) == 1:
            given = (*STRAIGHT, given[0])
        angles[finger] = tuple(float(x) for x in given)
    extra = {} if views is None else {"views": dict(zip(("palm", "back", "side"), views, strict=True))}
    return Gesture(
        name, tuple(phrases.split("|")), angles, tuple(float(x) for x in thumb), up, thumb_up=thumb_up, **extra
    )


_ALL = "thumb index middle ring pinky"
_FOUR = "index middle ring pinky"
_GESTURES = (
    _gesture(
        "open_hand",
        "an open hand with spread fingers|a high five|a wide open palm",
        _ALL,
        (0, -6, 0, -6, -8),
        index=(-2, 2, 2, 7),
        middle=(-2, 2, 2, 1),
        ring=(-2, 2, 2, -5),
        pinky=(-2, 3, 2, -9),
    ),
    _gesture(
        "flat_hand",
        "a flat hand with closed fingers|a stop sign|a flat hand",
        _ALL,
        (4, 16, 4, 2, 2),
        index=(1, 2, 2, -5),
        middle=(0, 2, 2, -1),
        ring=(0, 2, 2, 3),
        pinky=(2, 3, 2, 9),
    ),
    _gesture("fist", "a fist|a closed fist|a clenched fist"),
    _gesture("pointing", "a pointing gesture|a pointing index finger|a number one sign", "index"),
    _gesture(
        "peace",
        "a peace sign|a victory sign|a V sign",
        "index middle",
        _THUMB_ON_RING,
        index=(7,),
        middle=(-6,),
    ),
    _gesture(
        "two_together",
        "a two finger salute|a scout salute|two closed fingers",
        "index middle",
        _THUMB_ON_RING,
        index=(-4,),
        middle=(1,),
    ),
    _gesture(
        "three_fingers",
        "a three finger sign|a number three sign|three raised fingers",
        "index middle ring",
        _THUMB_ON_PINKY,
        index=(6,),
        middle=(0,),
        ring=(-5,),
    ),
    _gesture(
        "four_fingers",
        "a four finger sign|a number four sign|four raised fingers",
        _FOUR,
        _THUMB_OVER_PALM,
        index=(5,),
        middle=(1,),
        ring=(-4,),
        pinky=(-7,),
    ),
    _gesture(
        "thumbs_up",
        "a thumbs up|a thumbs up gesture|a like gesture",
        "thumb",
        (-4, -30, -10, -8, -14),
        (0.5, 0.5, 0),
        1.0,
    ),
    _gesture("thumbs_down", "a thumbs down|a dislike gesture", "thumb", (-4, -30, -10, -8, -14), (0.5, 0.5, 0), -1.0),
    _gesture(
        "ok",
        "an OK sign|an okay gesture|a perfect sign",
        "middle ring pinky",
        (21.1, 18.9, 34.1, 15.5, 33.2),
        (0.55, 0.3, 0.15),
        index=(53.4, 60.0, 34.3, -1.8),
        middle=(16, 14, 8, 1),
        ring=(8, 10, 6, -1),
        pinky=(2, 8, 5, -5),
    ),
    _gesture(
        "pinch",
        "a pinch|a pinching gesture|a small amount gesture",
        "",
        (26.6, 22.3, 32.2, 11.0, 20.0),
        (0.3, 0.1, 0.6),
        index=(62.2, 46.0, 18.2, -2.4),
        middle=(58, 58, 30, -1),
        ring=(64, 70, 38, 2),
        pinky=(66, 72, 40, 5),
    ),
    _gesture(
        "horns",
        "a sign of the horns|a rock and roll sign|a metal horns sign",
        "index pinky",
        (33.9, 11.9, 38.2, 60.0, 42.6),
        index=(3,),
        pinky=(-4,),
    ),
    _gesture("l_sign", "an L sign|a loser sign|a letter L", "thumb index", THUMB_OUT),
    _gesture("call_me", "a call me sign|a shaka sign|a hang loose sign", "thumb pinky", THUMB_OUT, pinky=(-7,)),
    _gesture(
        "love_you",
        "an I love you sign|a spider hand sign|an ILY sign",
        "thumb index pinky",
        THUMB_OUT,
        index=(3,),
        pinky=(-6,),
    ),
    _gesture("finger_gun", "a finger gun|a gun gesture", "thumb index middle", THUMB_OUT, index=(-4,), middle=(1,)),
    _gesture(
        "thumb_and_two",
        "a three with the thumb|a thumb and two fingers sign",
        "thumb index middle",
        THUMB_OUT,
        index=(7,),
        middle=(-6,),
    ),
    _gesture("pinky_up", "a pinky promise|a raised little finger|a pinky up gesture", "pinky", pinky=(-4,)),
    _gesture(
        "crossed_fingers",
        "crossed fingers|a fingers crossed gesture|a good luck sign",
        "index middle",
        _THUMB_ON_RING,
        index=(10, 12, 6, -13),
        middle=(-3, 3, 2, 9),
    ),
    _gesture(
        "vulcan",
        "a vulcan salute|a live long and prosper sign|a split finger salute",
        _ALL,
        (0, -6, 0, -6, -8),
        index=(4,),
        middle=(10,),
        ring=(-12,),
        pinky=(-7,),
    ),
    _gesture(
        "hook",
        "a hooked index finger|a bent index finger|a number nine sign",
        "",
        index=(12, 88, 52, 0),
    ),
    _gesture(
        "claw",
        "a claw|a claw gesture|a clawing hand",
        "",
        (18, 0, 8, 10, 40),
        index=(10, 60, 40, 5),
        middle=(10, 62, 40, 1),
        ring=(10, 62, 40, -3),
        pinky=(10, 58, 38, -7),
    ),
    _gesture(
        "relaxed",
        "a relaxed hand|a resting hand|a loose hand",
        "",
        (16, 8, 10, 12, 18),
        index=(18, 28, 14, -2),
        middle=(24, 32, 16, -1),
        ring=(28, 34, 18, 2),
        pinky=(30, 32, 18, 5),
    ),
    _gesture(
        "c_shape",
        "a C shape|a letter C|a glass holding gesture",
        "",
        (22, -4, 20, 4, 22),
        (0.25, 0.15, 0.6),
        index=(38, 34, 18, -3),
        middle=(38, 36, 18, -1),
        ring=(40, 36, 18, 3),
        pinky=(42, 34, 18, 8),
    ),
    _gesture(
        "cupped",
        "a cupped hand|a begging hand|a scooping hand",
        "",
        (14, 22, 10, 8, 10),
        index=(30, 14, 8, -5),
        middle=(30, 16, 8, -1),
        ring=(32, 16, 8, 3),
        pinky=(36, 16, 8, 9),
    ),
    _gesture(
        "tiger_paw",
        "a tiger paw|bent knuckles|a half closed fist",
        "",
        (24, 30, 24, 24, 30),
        index=(6, 98, 62, -2),
        middle=(6, 100, 62, -1),
        ring=(8, 100, 62, 2),
        pinky=(10, 96, 60, 6),
    ),
    _gesture(
        "purse",
        "a purse hand|pinched fingers|an Italian hand gesture",
        "",
        (30, 26, 34, 10, 16),
        (0.4, 0.2, 0.4),
        index=(66, 30, 10, -4),
        middle=(68, 30, 10, -1),
        ring=(72, 28, 10, 3),
        pinky=(78, 26, 10, 9),
    ),
    _gesture(
        "salute_bent",
        "a bent hand|a right angle hand|a table hand",
        "",
        (10, 12, 4, 4, 6),
        (0.2, 0.2, 0.6),
        index=(78, 4, 2, -4),
        middle=(78, 4, 2, -1),
        ring=(78, 4, 2, 2),
        pinky=(78, 5, 2, 7),
    ),
)
GESTURES: dict[str, Gesture] = {gesture.name: gesture for gesture in _GESTURES}
"""The named gestures."""


def finger_gesture(extended: frozenset[str]) -> Gesture:
    """The gesture with just these fingers extended and the others folded, described finger by finger."""
    unknown = sorted(set(extended) - {"thumb", *LONG_FINGERS})
    if unknown:
        raise ValueError(f"`extended` must name fingers of {('thumb', *LONG_FINGERS)}, got {unknown[0]!r}.")
    spread = {"index": 4.0, "middle": 0.0, "ring": -3.0, "pinky": -6.0}
    fingers: dict[str, tuple[float, ...]] = {
        f: ((*STRAIGHT, spread[f]) if f in extended else CURLED[f]) for f in LONG_FINGERS
    }
    if "thumb" in extended:
        thumb = THUMB_OUT
    elif "middle" not in extended:
        thumb = _THUMB_ON_MIDDLE
    elif "ring" not in extended:
        thumb = _THUMB_ON_RING
    elif "pinky" not in extended:
        thumb = _THUMB_ON_PINKY
    else:
        thumb = _THUMB_OVER_PALM
    name = "fingers_" + "".join("1" if f in extended else "0" for f in ("thumb", *LONG_FINGERS))
    return Gesture(name, _finger_phrases(extended), fingers, thumb, frozenset(extended))


def _finger_phrases(extended: frozenset[str]) -> tuple[str, ...]:
    order = ("thumb", *LONG_FINGERS)
    up = [f for f in order if f in extended]
    down = [f for f in order if f not in extended]
    if not down:
        return ("all fingers extended", "the thumb and all four fingers extended")
    if not up:
        return ("all fingers folded", "no finger extended")
    return (
        f"{_listed(up)} extended, {_listed(down)} folded",
        f"{_listed(up)} extended",
        f"only the {_listed(up)} extended",
    )


def _listed(fingers: list[str]) -> str:
    long = [f for f in fingers if f != "thumb"]
    parts = ["thumb"] if "thumb" in fingers else []
    if len(long) == 1:
        parts.append(f"{long[0]} finger")
    elif long:
        parts.append(f"{', '.join(long[:-1])} and {long[-1]} fingers")
    return " and ".join(parts)


def gesture_by_name(name: str) -> Gesture:
    """The gesture of a name in a data set row: one of `GESTURES` or `fingers_01100` (thumb to pinky, 1 = extended)."""
    if name in GESTURES:
        return GESTURES[name]
    code = name.removeprefix("fingers_")
    if name.startswith("fingers_") and len(code) == 5 and set(code) <= {"0", "1"}:
        return finger_gesture(
            frozenset(f for f, bit in zip(("thumb", *LONG_FINGERS), code, strict=True) if bit == "1")
        )
    hint = did_you_mean(name, GESTURES, quote="'")
    raise ValueError(f"`name` must be one of {', '.join(GESTURES)} or fingers_ and five bits, got {name!r}{hint}")


def left_hand_pose(fingers: torch.Tensor, thumb: torch.Tensor) -> torch.Tensor:
    """Anatomical angles to SMPL-H hand pose, for the left hand.

    Args:
        fingers (`torch.Tensor` of shape `(..., 4, 4)`): index, middle, ring, pinky; knuckle, middle and end flexion
            and abduction, degrees.
        thumb (`torch.Tensor` of shape `(..., 5)`): opposition, adduction, twist, knuckle and end flexion, degrees.

    Returns:
        `torch.Tensor` of shape `(..., 45)`: axis-angle, radians, MANO's order.
    """
    up = torch.tensor([0.0, 1.0, 0.0])
    poses = {}
    for i, finger in enumerate(LONG_FINGERS):
        direction = _direction(_SPLAY[finger], _TILT)
        palmar = _orthogonal(-up, direction)
        flexion = torch.linalg.cross(direction, palmar)
        knuckle, middle, end, abduction = fingers[..., i, :].unbind(-1)
        poses[finger] = (
            _turn(-palmar, -abduction) @ _turn(flexion, knuckle),
            _turn(flexion, middle),
            _turn(flexion, end),
        )
    segments = [_direction(*angles) for angles in _THUMB_SEGMENTS]
    pad = _orthogonal(torch.tensor(_THUMB_PAD), _unit(segments[1] * 0.033 + segments[2] * 0.0265))
    opposition, adduction, twist, knuckle, end = thumb.unbind(-1)
    base = _turn(up, adduction) @ _turn(_unit(torch.linalg.cross(segments[0], -up)), opposition)
    poses["thumb"] = (
        base @ _turn(segments[0], twist),
        _turn(_unit(torch.linalg.cross(segments[1], pad)), knuckle),
        _turn(_unit(torch.linalg.cross(segments[2], pad)), end),
    )
    rotations = torch.stack([rotation for finger in FINGERS for rotation in poses[finger]], -3)
    return rotmat_to_rotvec(rotations).flatten(-2)


def _direction(splay: float, tilt: float) -> torch.Tensor:
    s, t = math.radians(splay), math.radians(tilt)
    return torch.tensor([math.cos(t) * math.cos(s), -math.sin(t), math.cos(t) * math.sin(s)])


def _turn(axis: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    return rotvec_to_rotmat(torch.deg2rad(degrees)[..., None] * axis.to(degrees))


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vector, dim=-1)


def _orthogonal(vector: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    return _unit(vector - (vector @ direction) * direction)
