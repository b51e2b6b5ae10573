"""The geometry of defective hands: a body at rest whose hand is changed before it is posed.

Everything is done in the hand's own frame: origin at the wrist, x towards the fingertips, y out of the back of the
hand, z to the thumb's side, metres. A right hand is mirrored into it.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import FINGERS, FINGERTIP_VERTEX_IDS, JOINT_NAMES, OPENPOSE_FINGERS
from ..rendering.caps import band_between, border_loops
from .defects import Defect
from .gestures import LONG_FINGERS
from .rest_body import RestBody, hand_weight
from .skin import FINGER_RADII

_MIRROR = (-1.0, 1.0, 1.0)


def malform(body: RestBody, defect: Defect) -> None:
    """Changes the hand of a body, in place. Blur is not a change of geometry."""
    change = _CHANGES.get(defect.kind)
    if change is not None:
        change(_Hand(body, defect.side), defect)


class _Hand:
    """One hand of a body, in its own frame."""

    def __init__(self, body: RestBody, side: str):
        self.body, self.side = body, side
        self.mirror = body.vertices.new_tensor((1.0, 1.0, 1.0) if side == "left" else _MIRROR)
        self.wrist = JOINT_NAMES.index(f"{side}_wrist")
        self.origin = body.joints[self.wrist] * self.mirror
        self.points = body.vertices * self.mirror - self.origin
        self.joints = body.joints * self.mirror - self.origin

    def mean_points(self) -> torch.Tensor:
        """The vertices of the mean body at rest, `(V, 3)`."""
        model = self.body.body_model
        return (model.template - model.joint_template[self.wrist]) * self.mirror

    def store(self) -> None:
        """Writes points and joints back to the body."""
        self.body.vertices = (self.points + self.origin) * self.mirror
        self.body.joints = (self.joints + self.origin) * self.mirror

    def first(self, finger: str) -> int:
        return JOINT_NAMES.index(f"{self.side}_{finger}1")

    def weight(self, finger: str) -> torch.Tensor:
        """`(V,)`: how much the vertices follow a finger."""
        return self.body.weights[:, self.first(finger) : self.first(finger) + 3].sum(1)

    def axis(self, finger: str) -> "_Axis":
        first, tip = self.first(finger), FINGERTIP_VERTEX_IDS[self.side][OPENPOSE_FINGERS.index(finger)]
        return _Axis(self.joints[first], F.normalize(self.points[tip] - self.joints[first], dim=0), self.points[tip])

    def rotate(self, joint: int, rotation: torch.Tensor) -> None:
        """Sets a joint's rotation, which is given in the hand's frame."""
        self.body.rotations[joint] = self.mirror[:, None] * rotation * self.mirror

    def rotation(self, joint: int) -> torch.Tensor:
        return self.mirror[:, None] * self.body.rotations[joint] * self.mirror


@dataclass
class _Axis:
    """The axis of a finger at rest: the knuckle, a unit vector, and the fingertip."""

    origin: torch.Tensor
    direction: torch.Tensor
    tip: torch.Tensor

    def along(self, points: torch.Tensor) -> torch.Tensor:
        """How far beyond the knuckle points `(N, 3)` are, `(N,)`."""
        return (points - self.origin) @ self.direction

    def off(self, points: torch.Tensor) -> torch.Tensor:
        """From the axis to points `(N, 3)`."""
        return points - self.origin - self.along(points)[:, None] * self.direction

    @property
    def length(self) -> float:
        return float(self.along(self.tip[None]))


def _lengthen(hand: _Hand, defect: Defect) -> None:
    _stretch(hand, str(defect.finger), defect.amount)
    hand.store()


def _stretch(hand: _Hand, finger: str, factor: float) -> None:
    """Lengthens the bones of a finger; of the thumb the outer two."""
    axis, first = hand.axis(finger), hand.first(finger)
    if finger == "thumb":
        axis = _Axis(hand.joints[first + 1], axis.direction, axis.tip)
    growth = (factor - 1) * axis.along(hand.points).clamp(min=0) * hand.weight(finger)
    hand.points = hand.points + growth[:, None] * axis.direction
    joints = slice(first + 1, first + 3)
    growth = (factor - 1) * axis.along(hand.joints[joints]).clamp(min=0)
    hand.joints[joints] += growth[:, None] * axis.direction


def _bend(hand: _Hand, defect: Defect) -> None:
    """Bends the middle joint of a finger towards the back of the hand and somewhat sideways."""
    rng = random.Random(defect.seed)
    axis = hand.axis(str(defect.finger))
    backwards = F.normalize(torch.linalg.cross(axis.direction, axis.direction.new_tensor([0.0, 1.0, 0.0])), dim=0)
    sideways = torch.linalg.cross(backwards, axis.direction)
    lean = math.radians(rng.uniform(15, 40)) * rng.choice((-1, 1))
    turn = math.radians(defect.amount) * (math.cos(lean) * backwards + math.sin(lean) * sideways)
    first = hand.first(str(defect.finger))
    hand.rotate(first + 1, rotvec_to_rotmat(turn))
    for joint in (first, first + 2):
        hand.rotate(joint, rotvec_to_rotmat(0.3 * rotmat_to_rotvec(hand.rotation(joint))))


def _remove(hand: _Hand, defect: Defect) -> None:
    """Shrinks a finger to a dome at its base, and moves the others together."""
    finger = str(defect.finger)
    axis, weight, first = hand.axis(finger), hand.weight(finger), hand.first(finger)
    bone = float((hand.joints[first + 1] - hand.joints[first]).norm())
    start, height = (0.45 * bone, 0.005) if finger == "thumb" else (0.22 * bone, 0.0025)
    along, off = axis.along(hand.points), axis.off(hand.points)
    end = float(along[weight > 0.5].max())
    angle = ((along - start) / (end - start)).clamp(0, 1) * (math.pi / 2)
    dome = axis.origin + (start + height * angle.sin())[:, None] * axis.direction + off * angle.cos()[:, None]
    own = _smoothstep(0.3, 0.6, weight) * (along > start)
    hand.points = torch.lerp(hand.points, dome, own[:, None])
    near = 1 - _smoothstep(0.7 * bone, 1.1 * bone, (hand.points - axis.origin - start * axis.direction).norm(dim=-1))
    hand.points = _smoothed(
        hand.points, hand.body.body_model.faces, (own + near * _smoothstep(0.1, 0.5, weight)).clamp(0, 1)
    )
    # What the finger leaves has no nail.
    body = hand.body
    body.source_face = body.source_face.masked_fill((own > 0)[body.faces].any(1), -1)
    for joint in range(first, first + 3):
        hand.rotate(joint, rotvec_to_rotmat(0.2 * rotmat_to_rotvec(hand.rotation(joint))))
    if finger != "thumb":
        _part(hand, axis, -0.016 * defect.amount)
    hand.store()


def _smoothed(points: torch.Tensor, faces: torch.Tensor, share: torch.Tensor, steps: int = 12) -> torch.Tensor:
    """Points `(V, 3)` moved repeatedly towards the mean of their neighbours, each by its share `(V,)` of the way."""
    start, end = faces.flatten(), faces.roll(-1, 1).flatten()
    number = torch.zeros_like(share).index_add_(0, start, torch.ones_like(share[start])).clamp(min=1)
    for _ in range(steps):
        mean = torch.zeros_like(points).index_add_(0, start, points[end]) / number[:, None]
        points = torch.lerp(points, mean, 0.7 * share[:, None])
    return points


def _add(hand: _Hand, defect: Defect) -> None:
    """Copies a finger, with room made for it between its neighbours, or next to the outer ones."""
    finger = str(defect.finger)
    source, rng = hand.axis(finger), random.Random(defect.seed)
    if finger in LONG_FINGERS[:-1]:
        other = hand.axis(LONG_FINGERS[LONG_FINGERS.index(finger) + 1])
        middle = _Axis(
            (source.origin + other.origin) / 2,
            F.normalize(source.direction + other.direction, dim=0),
            (source.tip + other.tip) / 2,
        )
        _part(hand, middle, 0.024)
        origin, direction = middle.origin, middle.direction
        root = origin - 0.035 * direction
        source = hand.axis(finger)
    else:
        thumb = finger == "thumb"
        turn = math.radians(rng.uniform(22, 34) if thumb else -rng.uniform(16, 24))
        up = source.direction.new_tensor([0.0, -1.0, 0.0])
        direction = rotvec_to_rotmat(turn * up) @ source.direction
        origin = source.origin + source.origin.new_tensor([0.0, 0.0, 0.0] if thumb else [-0.010, 0.0, -0.0115])
        root = source.origin.new_tensor([0.0, -0.005, 0.0]) if thumb else source.origin - 0.035 * source.direction
    _copy_finger(hand, finger, source, _Axis(origin, direction, root), defect.amount)


def _copy_finger(hand: _Hand, finger: str, source: _Axis, target: _Axis, scale: float) -> None:
    """Appends a copy of a finger with joints of its own, whose base runs to a point in the palm, `target.tip`."""
    body, first = hand.body, hand.first(finger)
    own = hand.weight(finger) > 0.35
    turn = _shortest_turn(source.direction, target.direction)

    def place(points: torch.Tensor) -> torch.Tensor:
        return target.origin + scale * (points - source.origin) @ turn.T

    joints, points = place(hand.joints[first : first + 3]), place(hand.points[own])
    hand.store()
    new = len(body.parents)
    body.joints = torch.cat([body.joints, (joints + hand.origin) * hand.mirror])
    local = torch.stack([turn @ hand.rotation(joint) @ turn.T for joint in range(first, first + 3)])
    body.rotations = torch.cat([body.rotations, hand.mirror[:, None] * local * hand.mirror])
    body.parents = (*body.parents, hand.wrist, new, new + 1)
    body.weights = F.pad(body.weights, (0, 3))
    weights = torch.zeros_like(body.weights[own])
    weights[:, new:] = body.weights[own, first : first + 3]
    weights[:, hand.wrist] = 1 - weights[:, new:].sum(1)
    start = body.add((points + hand.origin) * hand.mirror, weights, body.source_vertex[own])
    faces, sources = _copied_faces(body, own, start)
    body.append(faces, sources)

    for loop in border_loops(faces):
        border = torch.tensor(loop, device=own.device)
        ring = torch.lerp(points[border - start], target.tip, 0.6)
        rooted = torch.zeros_like(body.weights[border])
        rooted[:, hand.wrist] = 1
        inner = body.add((ring + hand.origin) * hand.mirror, rooted, body.source_vertex[border])
        band = band_between(border, torch.arange(len(border), device=own.device) + inner)
        body.append(band)


def _copied_faces(body: RestBody, own: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The faces between some vertices `(V,)`, for their copies that begin at `start`, and which faces they copy."""
    number = torch.full((len(own),), -1, device=own.device)
    number[own] = torch.arange(int(own.sum()), device=own.device) + start
    within = own[body.body_model.faces].all(1).nonzero()[:, 0]
    return number[body.body_model.faces[within]], within


def _part(hand: _Hand, line: _Axis, amount: float) -> None:
    """Moves the long fingers on both sides of a line apart by `amount` metres, and the palm behind them."""
    across = F.normalize(torch.linalg.cross(line.direction, line.direction.new_tensor([0.0, 1.0, 0.0])), dim=0)

    def side(points: torch.Tensor) -> torch.Tensor:
        behind = _smoothstep(-0.085, -0.005, line.along(points))
        return torch.tanh((points - line.origin) @ across / 0.010) * behind

    moves = torch.zeros_like(hand.points[:, 0])
    free = 1 - moves
    for finger in FINGERS:
        first = hand.first(finger)
        if float(((hand.joints[first] - line.origin) @ across).abs()) < 1e-4:
            continue
        step = side(hand.joints[first + (finger == "thumb")][None])
        weight = hand.weight(finger)
        moves, free = moves + weight * step, free - weight
        hand.joints[first : first + 3] += amount / 2 * step * across
    moves = moves + free * side(hand.points) * hand_weight(hand.body, hand.side)
    hand.points = hand.points + (amount / 2 * moves)[:, None] * across


def _fuse(hand: _Hand, defect: Defect) -> None:
    """Draws two neighbours together and flattens their inner sides until they are one."""
    pair = (str(defect.finger), LONG_FINGERS[LONG_FINGERS.index(str(defect.finger)) + 1])
    firsts = [hand.first(finger) for finger in pair]
    for k in range(3):
        poses = [rotmat_to_rotvec(hand.rotation(first + k)) for first in firsts]
        for first in firsts:
            hand.rotate(first + k, rotvec_to_rotmat((poses[0] + poses[1]) / 2))
    lengths = [hand.axis(finger).length for finger in pair]
    for finger, length in zip(pair, lengths, strict=True):
        _stretch(hand, finger, 1 + 0.6 * (sum(lengths) / 2 / length - 1))
    a, b = (hand.axis(finger) for finger in pair)
    middle = (a.origin + b.origin) / 2
    direction = F.normalize(a.direction + b.direction, dim=0)
    across = F.normalize(torch.linalg.cross(direction, direction.new_tensor([0.0, 1.0, 0.0])), dim=0)
    moved, joints = hand.points.clone(), hand.joints.clone()
    for finger, axis in zip(pair, (a, b), strict=True):
        first = hand.first(finger)
        sign = float(torch.sign((axis.origin - middle) @ across))
        # Beyond its base, the axis runs at a little less than a radius from the plane between the fingers.
        for points, weight, target in (
            (hand.points, hand.weight(finger), moved),
            (hand.joints[first : first + 3], torch.ones(3, device=middle.device), joints[first : first + 3]),
        ):
            along = axis.along(points)
            radius = _radius(finger, axis, hand.joints[first : first + 3], along)
            now = ((axis.origin - middle) @ across) + along * (axis.direction @ across)
            fused = _smoothstep(0.0, 0.35 * axis.length, along) * weight * defect.amount
            shift = fused * (sign * 0.80 * radius - now)
            off = axis.off(points)
            sideways = off @ across
            inner = (-sign * sideways).clamp(min=0) / radius
            upright = off - sideways[:, None] * across
            height = upright.norm(dim=-1) / radius
            square = (inner**2 + height**2).sqrt() / (inner**5 + height**5).clamp(min=1e-9) ** 0.2
            grow = fused * (square - 1) * (inner > 0)
            target += shift[:, None] * across + grow[:, None] * off
    hand.points, hand.joints = moved, joints
    hand.store()


def _radius(finger: str, axis: _Axis, joints: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """Radius of a finger `(N,)` at distances from its knuckle."""
    radii = along.new_tensor(FINGER_RADII[finger])
    knots = torch.cat([axis.along(joints), along.new_tensor([axis.length])])
    right = torch.searchsorted(knots, along.contiguous()).clamp(1, 3)
    share = ((along - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return torch.lerp(radii[right - 1], radii[right], share)


def _swap(hand: _Hand, defect: Defect) -> None:
    """Replaces the hand by the other side's, turned about the back of the hand so that its palm faces the same way."""
    body = hand.body
    other = _Hand(body, "right" if hand.side == "left" else "left")
    turned = hand.points.new_tensor([1.0, 1.0, -1.0])
    own = (other.mean_points()[:, 0] > 0.004) & (
        hand_weight(body, other.side) + body.weights[:, other.wrist - 2] > 0.5
    )
    points = other.points[own] * turned

    first, theirs = hand.first(FINGERS[0]), other.first(FINGERS[0])
    hand.joints[first : first + 15] = other.joints[theirs : theirs + 15] * turned
    for joint in range(first, first + 15):
        hand.rotate(joint, turned[:, None] * hand.rotation(joint) * turned)
    weights = torch.zeros_like(body.weights[own])
    mirrored = {theirs + k: first + k for k in range(15)} | {other.wrist: hand.wrist, other.wrist - 2: hand.wrist - 2}
    for source, target in mirrored.items():
        weights[:, target] = body.weights[own, source]
    weights = weights / weights.sum(1, keepdim=True)
    hand.store()

    # The thumbs reach back to the wrist; there they would pull the two ends apart.
    body.weights = _less_of_fingers(hand, body.weights, torch.zeros_like(hand.points[:, 0]))
    weights = _less_of_fingers(hand, weights, _smoothstep(0.0, 0.03, points[:, 0]))
    keep = ((hand.mean_points()[:, 0] < -0.006) | (hand_weight(body, hand.side) < 0.2))[body.faces].all(1)
    body.faces, body.source_face = body.faces[keep], body.source_face[keep]
    start = body.add((points + hand.origin) * hand.mirror, weights, body.source_vertex[own])
    faces, sources = _copied_faces(body, own, start)
    ends = torch.cat([hand.mean_points(), other.mean_points()[own] * turned])
    band = _zipped(_wrist_loop(body.faces, ends), _wrist_loop(faces, ends), ends)
    body.append(faces, sources)
    body.append(band)


def _less_of_fingers(hand: _Hand, weights: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Skinning weights `(V, J)` with a share `(V,)` of the fingers' weight; the wrist takes the rest."""
    fingers = slice(hand.first(FINGERS[0]), hand.first(FINGERS[0]) + 15)
    less = weights.clone()
    less[:, fingers] *= share[:, None]
    less[:, hand.wrist] += weights[:, fingers].sum(1) * (1 - share)
    return less


def _wrist_loop(faces: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The border of faces that is nearest to the wrist."""
    loops = [torch.tensor(loop, device=faces.device) for loop in border_loops(faces)]
    return min(loops, key=lambda loop: float(points[loop].mean(0).norm()))


def _zipped(border: torch.Tensor, other: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Faces `(N + M, 3)` between the borders `(N,)` and `(M,)` of two open ends that face each other along x."""

    def angles(loop: torch.Tensor) -> list[float]:
        """Of one turn, from the start of the first loop on."""
        centred = points[loop][:, 1:] - points[loop][:, 1:].mean(0)
        return torch.atan2(centred[:, 0], centred[:, 1]).tolist()

    other = other.flip(0)
    a, b = angles(border), angles(other)
    distance = [abs(math.remainder(angle - a[0], 2 * math.pi)) for angle in b]
    other = other.roll(-distance.index(min(distance)))
    b = angles(other)
    faces, i, j, first, second = [], 0, 0, border.tolist(), other.tolist()
    while i < len(a) or j < len(b):
        turn_a = _turned(a, i + 1) if i < len(a) else math.inf
        turn_b = _turned(b, j + 1) if j < len(b) else math.inf
        here, there = first[i % len(a)], second[j % len(b)]
        if turn_a <= turn_b:
            i += 1
            faces.append([first[i % len(a)], here, there])
        else:
            j += 1
            faces.append([there, second[j % len(b)], here])
    return torch.tensor(faces, device=border.device)


def _turned(angles: list[float], steps: int) -> float:
    """By how much the angles of a loop have turned after some steps, in either direction."""
    steps_taken = [math.remainder(angles[(k + 1) % len(angles)] - angles[k], 2 * math.pi) for k in range(steps)]
    return abs(sum(steps_taken))


def _shortest_turn(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    axis = torch.linalg.cross(source, target)
    angle = torch.atan2(axis.norm(), source @ target)
    return rotvec_to_rotmat(F.normalize(axis, dim=0) * angle)


def _smoothstep(low: float, high: float, value: torch.Tensor) -> torch.Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


_CHANGES: dict[str, Callable[[_Hand, Defect], None]] = {
    "extra_finger": _add,
    "missing_finger": _remove,
    "fused_fingers": _fuse,
    "bent_backwards": _bend,
    "too_long": _lengthen,
    "swapped_side": _swap,
}
