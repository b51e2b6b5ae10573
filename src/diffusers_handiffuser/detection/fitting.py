"""Fits the hand of a body model to 21 points by least squares.

Points determine neither the twist of a finger nor, in 2D, which side is in front. So the residuals are of three kinds:
the distances to the points, the deviation from a mean hand pose, and the excess over the joint limits.
The weights and spreads are ours, tuned on the studio's gestures. Of these, `fit_hands` recovers exact 3D joints to
less than a millimetre, and from exact 2D joints the 3D joints to about three (`benchmarks/fit_hands.py`).
"""

from typing import NamedTuple

import torch

from ..hands import HandBodyModel
from ..hands.joint_limits import USUAL, joint_limits, kinds_of_joints
from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import FINGERS, OPENPOSE_HAND_NAMES, SIDES
from .hand_kinematics import HandKinematics
from .least_squares import minimize

_NOISE_2D = 0.015  # of the hand's size in the image
_NOISE_3D = 0.003  # metres
_NOISE_PERSPECTIVE = 0.03  # of the hand's size in the image, beside 3D points: cameras have perspective, ours has none
_LIMIT_WEIGHT = 20.0
_UNIT = 10.0
"""Scaled targets per metre, about, so that the log of the scale is small."""
_PALM = [0, 5, 9, 13, 17]
_CURL = (1.3, 1.7, 1.0)
_STARTS_KEPT = 2
_SPREADS = {"knuckle": (0.2, 0.25, 1.0), "finger": (0.1, 0.1, 1.0), "thumb": (0.4, 0.4, 0.4)}
"""Standard deviations of the pose prior, radians. A right finger points along -x: x twists, y spreads, z bends it."""


class FittedPoses(NamedTuple):
    """Single hands fitted to points.

    Args:
        rotations (`torch.Tensor` of shape `(N, 3, 3)`): of the wrists.
        poses (`torch.Tensor` of shape `(N, 45)`): axis-angle, radians.
        distances (`torch.Tensor` of shape `(N,)`): mean distance of the joints from the points, in the points' unit.
        parameters (`torch.Tensor` of shape `(N, P)`): all of them, see [`HandFit`].
    """

    rotations: torch.Tensor
    poses: torch.Tensor
    distances: torch.Tensor
    parameters: torch.Tensor


class HandFit:
    """Fits single hands, many at once.

    The parameters of a hand are its rotation (3), finger joints (45), the log of the scale, and translation (2 or 3).
    Targets are divided by their size first, so that all numbers are about 1.

    Args:
        body_model ([`HandBodyModel`]): the body whose hands are fitted.
        steps (`int`): of Levenberg-Marquardt.
    """

    def __init__(self, body_model: HandBodyModel, steps: int):
        self.hands = HandKinematics(body_model)
        self.steps = steps
        self.means = body_model.mean_hand_poses().cpu()
        self.spreads = torch.tensor([_SPREADS[kind] for kind in kinds_of_joints()]).flatten()
        low, high = (limit.flatten() for limit in joint_limits(USUAL))
        bends = torch.tensor([1.0, -1.0, -1.0]).repeat(15)  # from a right hand's axis-angles to a left hand's
        self.low = torch.stack([torch.minimum(low * bends, high * bends), low])
        self.high = torch.stack([torch.maximum(low * bends, high * bends), high])

    def __call__(self, targets: torch.Tensor, sides: torch.Tensor) -> FittedPoses:
        """Fits hands to points.

        Args:
            targets (`torch.Tensor` of shape `(N, 21, 2 or 3)`): the points, in 3D in metres, in 2D in any unit.
            sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.
        """
        scaled, size = _scale(targets)
        noise = _NOISE_3D / size if targets.shape[-1] == 3 else torch.full_like(size, _NOISE_2D)
        starts = self._starts(scaled, sides)
        data = (torch.cat([values] * len(starts)) for values in (sides, scaled, noise))
        tried, costs = minimize(self._linearize, torch.cat(starts), *data, steps=self.steps)
        winner = costs.unflatten(0, (len(starts), -1)).argmin(0)
        best = tried.unflatten(0, (len(starts), -1))[winner, torch.arange(len(targets))]
        return self._fitted(best, scaled, size, sides)

    def refine(
        self, fitted: FittedPoses, targets: torch.Tensor, pixels: torch.Tensor, sides: torch.Tensor
    ) -> FittedPoses:
        """Fits hands that were fitted to 3D points to the same points in the image, too, which are more precise.

        Args:
            fitted ([`FittedPoses`]): the fit to the 3D points.
            targets (`torch.Tensor` of shape `(N, 21, 3)`): the 3D points, metres.
            pixels (`torch.Tensor` of shape `(N, 21, 2)`): the points in the image.
            sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.
        """
        scaled, size = _scale(targets)
        flat, _ = _scale(pixels)
        start = torch.cat([fitted.parameters, fitted.parameters[:, 48:51]], 1)
        noise, flat_noise = _NOISE_3D / size, torch.full_like(size, _NOISE_PERSPECTIVE)
        best, _ = minimize(self._linearize, start, sides, scaled, noise, flat, flat_noise, steps=self.steps)
        return self._fitted(best[:, :52], scaled, size, sides)

    def _fitted(
        self, parameters: torch.Tensor, scaled: torch.Tensor, size: torch.Tensor, sides: torch.Tensor
    ) -> FittedPoses:
        drawn = _draw(parameters[:, 48:], self.hands.joints(parameters[:, :48].unflatten(1, (16, 3)), sides))
        distances = (drawn - scaled).norm(dim=-1).mean(-1) * size
        return FittedPoses(rotvec_to_rotmat(parameters[:, :3]), parameters[:, 3:48], distances, parameters)

    def _linearize(
        self, parameters: torch.Tensor, side: torch.Tensor, *targets_and_noises: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Residuals `(N, R)` and derivatives `(N, R, P)`: of the prior, beyond the limits, of each set of points.

        A set of points is a target `(N, 21, axes)`, its noise `(N,)`, and `1 + axes` parameters: the log of its scale
        and its shift.
        """
        number, pose = len(parameters), parameters[:, 3:48]
        low, high = self.low[side], self.high[side]
        beyond = torch.relu(pose - high) - torch.relu(low - pose)
        outside = ((pose > high) | (pose < low)).float()
        values = [(pose - self.means[side]) / self.spreads, _LIMIT_WEIGHT * beyond]
        priors = torch.zeros(number, 90, parameters.shape[1])
        priors[:, :45, 3:48] = torch.diag(1 / self.spreads)
        priors[:, 45:, 3:48] = torch.diag_embed(_LIMIT_WEIGHT * outside)
        derivatives = [priors]

        joints, moves = self.hands.joints_and_jacobian(parameters[:, :48].unflatten(1, (16, 3)), side)
        first = 48
        for target, noise in zip(targets_and_noises[::2], targets_and_noises[1::2], strict=True):
            axes = target.shape[-1]
            own = parameters[:, first : first + 1 + axes]
            scale = own[:, 0].exp()[:, None, None] * _UNIT
            changes = torch.zeros(number, 21, axes, parameters.shape[1])
            changes[..., :48] = scale[..., None] * moves[:, :, :axes]
            changes[..., first] = scale * joints[..., :axes]
            changes[..., first + 1 : first + 1 + axes] = torch.eye(axes)
            values.append(((_draw(own, joints) - target) / noise[:, None, None]).flatten(1))
            derivatives.append(changes.flatten(1, 2) / noise[:, None, None])
            first += 1 + axes
        return torch.cat(values, 1), torch.cat(derivatives, 1)

    def _starts(self, scaled: torch.Tensor, sides: torch.Tensor) -> list[torch.Tensor]:
        """Initial parameters `(N, P)` to try: poses rotated to fit the palm, or in 2D as the views that fit best."""
        mean = self.means[sides]
        poses = [mean] if scaled.shape[-1] == 3 else [mean, _curled(mean, scaled, sides)]
        starts = []
        for pose in poses:
            at_rest = torch.cat([torch.zeros(len(pose), 1, 3), pose.unflatten(1, (15, 3))], 1)
            template = self.hands.joints(at_rest, sides)
            if scaled.shape[-1] == 3:
                turns = [_align(template[:, _PALM], scaled[:, _PALM])]
            else:
                turns = _views(template, scaled)
            for turn in turns:
                flat = (template @ turn.mT)[..., : scaled.shape[-1]]
                spread = (flat - flat.mean(1, keepdim=True)).norm(dim=-1).mean(-1)
                scale = scaled.norm(dim=-1).mean(-1) / spread.clamp_min(1e-3)
                shift = -scale[:, None] * flat.mean(1)
                starts.append(torch.cat([rotmat_to_rotvec(turn), pose, (scale / _UNIT).log()[:, None], shift], -1))
        return starts


def _scale(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points `(N, 21, axes)` about their middle in units of their size, and that size `(N,)`."""
    centred = points - points.mean(1, keepdim=True)
    size = centred.norm(dim=-1).amax(-1)
    return centred / size[:, None, None], size


def _draw(placement: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
    """Joints `(N, 21, 3)`, metres, at the log of a scale and a shift `(N, 1 + axes)`: `(N, 21, axes)`."""
    axes = placement.shape[1] - 1
    return placement[:, 0].exp()[:, None, None] * _UNIT * joints[..., :axes] + placement[:, None, 1:]


def _curled(mean: torch.Tensor, target: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """The mean poses `(N, 45)`, with the fingers curled whose tip is nearer to the wrist than their middle joint."""
    pose = mean.clone().reshape(-1, 5, 3, 3)
    sign = torch.where(sides == SIDES.index("left"), -1.0, 1.0)
    for row, finger in enumerate(FINGERS):
        if finger != "thumb":
            middle = OPENPOSE_HAND_NAMES.index(f"{finger}2")
            reach = [(target[:, joint] - target[:, 0]).norm(dim=-1) for joint in (middle, middle + 2)]
            bent = torch.tensor(_CURL) * sign[:, None]
            pose[:, row, :, 2] = torch.where((reach[1] < reach[0])[:, None], bent, pose[:, row, :, 2])
    return pose.reshape(-1, 45)


def _align(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rotations `(N, 3, 3)` that align points `(N, K, 3)` best, up to scale and translation (Kabsch 1976)."""
    source, target = source - source.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
    left, _, right = torch.linalg.svd(target.mT @ source)
    signs = torch.ones(len(source), 3)
    signs[:, 2] = torch.linalg.det(left @ right)
    return left @ (signs[..., None] * right)


def _views(template: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    """The rotations `(N, 3, 3)`, best first, from a grid of views, in which the template is closest to the target."""
    quarter, tilt = torch.pi / 2, torch.pi / 4
    grid = [
        rotvec_to_rotmat(torch.tensor([0.0, y, 0.0])) @ rotvec_to_rotmat(torch.tensor([x, 0.0, 0.0]))
        for x in (0.0, quarter / 2, quarter, 1.5 * quarter, 2 * quarter, -1.5 * quarter, -quarter, -quarter / 2)
        for y in (-tilt, 0.0, tilt)
    ]
    centred = target - target.mean(1, keepdim=True)
    goal = torch.view_as_complex(centred.contiguous())
    turns, costs = [], []
    for view in grid:
        seen = (template @ view.T)[..., :2]
        shape = torch.view_as_complex((seen - seen.mean(1, keepdim=True)).contiguous())
        # A similarity of the plane is one complex number.
        factor = (shape.conj() * goal).sum(-1) / shape.abs().square().sum(-1).clamp_min(1e-9)
        costs.append((factor[:, None] * shape - goal).abs().square().sum(-1))
        spin = torch.stack([torch.zeros_like(factor.real), torch.zeros_like(factor.real), factor.angle()], -1)
        turns.append(rotvec_to_rotmat(spin) @ view)
    order = torch.stack(costs, 1).argsort(1)[:, :_STARTS_KEPT]
    every = torch.stack(turns, 1)
    rows = torch.arange(len(target))
    return [every[rows, order[:, k]] for k in range(_STARTS_KEPT)]
