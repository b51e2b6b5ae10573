"""Fits the hand of a body model to 21 points by least squares, through `HandBodyModel`'s own geometry.

Points determine neither the twist of a finger nor, in 2D, which side is in front. So the residuals are of three kinds:
the distances to the points, the deviation from a mean hand pose, and the excess over the joint limits.
The weights and spreads are ours, tuned on the studio's gestures: the fit recovers exact 3D joints to about a
millimetre, and from exact 2D joints the 3D joints to about seven.
"""

import torch

from ..hands import HandBodyModel
from ..hands.joint_limits import USUAL, joint_limits, kinds_of_joints
from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import FINGERS, OPENPOSE_HAND_NAMES, SIDES
from .least_squares import minimize

_NOISE_2D = 0.015  # of the hand's size in the image
_NOISE_3D = 0.003  # metres
_LIMIT_WEIGHT = 20.0
_PALM = [0, 5, 9, 13, 17]
_CURL = (1.3, 1.7, 1.0)
_STARTS_KEPT = 2
_SPREADS = {"knuckle": (0.2, 0.25, 1.0), "finger": (0.1, 0.1, 1.0), "thumb": (0.4, 0.4, 0.4)}
"""Standard deviations of the pose prior, radians. A right finger points along -x: x twists, y spreads, z bends it."""


class HandFit:
    """Fits single hands, many at once.

    The parameters of a hand are its rotation (3), finger joints (45), the log of the scale, and translation (2 or 3).
    Targets are divided by their size first, so that all numbers are about 1.

    Args:
        body_model ([`HandBodyModel`]): the body whose hands are fitted.
        steps (`int`): of Levenberg-Marquardt.
    """

    def __init__(self, body_model: HandBodyModel, steps: int):
        self.body = _fingertips_alone(body_model)
        self.steps = steps
        self.means = body_model.mean_hand_poses().cpu()
        self.spreads = torch.tensor([_SPREADS[kind] for kind in kinds_of_joints()]).flatten()
        self.low, self.high = (limit.flatten() for limit in joint_limits(USUAL))

    def __call__(self, targets: torch.Tensor, sides: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Fits hands to points.

        Args:
            targets (`torch.Tensor` of shape `(N, 21, 2 or 3)`): the points, in 3D in metres, in 2D in any unit.
            sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.

        Returns:
            `tuple`: rotations `(N, 3, 3)`, poses `(N, 45)` in radians, mean distances `(N,)` in that unit.
        """
        centre = targets.mean(1, keepdim=True)
        size = (targets - centre).norm(dim=-1).amax(-1)[:, None, None]
        scaled = (targets - centre) / size
        noise = torch.full((len(targets),), _NOISE_2D)
        if targets.shape[-1] == 3:
            noise = _NOISE_3D / size[:, 0, 0]
        starts = self._starts(scaled, sides)
        data = (torch.cat([values] * len(starts)) for values in (scaled, sides, noise))
        tried, costs = minimize(self._residuals, torch.cat(starts), *data, steps=self.steps)
        winner = costs.unflatten(0, (len(starts), -1)).argmin(0)
        best = tried.unflatten(0, (len(starts), -1))[winner, torch.arange(len(targets))]
        drawn = torch.func.vmap(self._draw)(best, sides, scaled)
        distance = ((drawn - scaled).norm(dim=-1) * size[:, :, 0]).mean(-1)
        return rotvec_to_rotmat(best[:, :3]), best[:, 3:48], distance

    def _joints(self, rotation: torch.Tensor, pose: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        """The 21 joints about their wrist, metres."""
        full = torch.cat([rotation, rotation.new_zeros(63), pose, pose]).unflatten(0, (1, 52, 3))
        geometry = self.body.hand_geometry(full, rotation.new_zeros(1, 10), rotation.new_tensor([[1.0, 0.0, 0.0]]))
        left, right = (geometry.joints_3d[0, hand] - geometry.joints_3d[0, hand, 0] for hand in range(2))
        return torch.where(side == SIDES.index("left"), left, right)

    def _draw(self, parameters: torch.Tensor, side: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        joints = self._joints(parameters[:3], parameters[3:48], side)
        axes = target.shape[-1]
        return parameters[48].exp() * 10 * joints[:, :axes] + parameters[49 : 49 + axes]

    def _residuals(
        self, parameters: torch.Tensor, target: torch.Tensor, side: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        pose = parameters[3:48]
        sign = torch.where(side == SIDES.index("left"), -1.0, 1.0)
        mean = torch.where(side == SIDES.index("left"), self.means[0], self.means[1])
        as_right = pose * torch.stack([torch.ones_like(sign), sign, sign]).repeat(15)
        beyond = torch.relu(as_right - self.high) - torch.relu(self.low - as_right)
        distances = (self._draw(parameters, side, target) - target) / noise
        return torch.cat([distances.flatten(), (pose - mean) / self.spreads, _LIMIT_WEIGHT * beyond])

    def _starts(self, scaled: torch.Tensor, sides: torch.Tensor) -> list[torch.Tensor]:
        """Initial parameters `(N, P)` to try: poses rotated to fit the palm, or in 2D as the views that fit best."""
        mean = self.means[sides]
        poses = [mean] if scaled.shape[-1] == 3 else [mean, _curled(mean, scaled, sides)]
        starts = []
        for pose in poses:
            template = torch.func.vmap(self._joints)(torch.zeros(len(sides), 3), pose, sides)
            if scaled.shape[-1] == 3:
                turns = [_align(template[:, _PALM], scaled[:, _PALM])]
            else:
                turns = _views(template, scaled)
            for turn in turns:
                flat = (template @ turn.mT)[..., : scaled.shape[-1]]
                spread = (flat - flat.mean(1, keepdim=True)).norm(dim=-1).mean(-1)
                scale = scaled.norm(dim=-1).mean(-1) / spread.clamp_min(1e-3)
                shift = -scale[:, None] * flat.mean(1)
                starts.append(torch.cat([rotmat_to_rotvec(turn), pose, (scale / 10).log()[:, None], shift], -1))
        return starts


def _fingertips_alone(body_model: HandBodyModel) -> HandBodyModel:
    """The same body without its skin but for the ten fingertips, which the joints need."""
    config = {name: value for name, value in body_model.config.items() if not name.startswith("_")}
    none = ("num_left_vertices", "num_right_vertices", "num_left_faces", "num_right_faces")
    body = HandBodyModel(**{**config, **dict.fromkeys(none, 0)})
    whole = dict(body_model.named_buffers())
    parts = {"hand_vertex_ids": slice(-10, None), "left_faces": slice(0), "right_faces": slice(0)}
    for name, buffer in body.named_buffers():
        kept = whole[name][:, -30:] if name == "hand_pose_directions" else whole[name][parts.get(name, slice(None))]
        buffer.copy_(kept.cpu())
    return body.eval()


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
