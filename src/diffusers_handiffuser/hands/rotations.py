"""Maps between three representations of rotations.

A function's name is the map it computes. ``rotvec`` is axis-angle in radians (direction = axis, length = angle),
``rotmat`` a matrix acting on column vectors, ``rot6d`` the first two *columns* of that matrix, one after the other
(Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019). Rows instead would
silently give the inverse rotation, so the convention is stated here once and tested.

Every function takes any leading batch shape and is differentiable everywhere it is defined.
"""

import torch
import torch.nn.functional as F


def rotvec_to_rotmat(rotvec: torch.Tensor) -> torch.Tensor:
    """Rodrigues' formula.

    Args:
        rotvec (`torch.Tensor` of shape `(..., 3)`): axis-angle, radians.

    Returns:
        `torch.Tensor` of shape `(..., 3, 3)`: exact at zero, with finite gradients there.
    """
    _check_last(rotvec, "rotvec", (3,))
    squared = rotvec.square().sum(-1)[..., None, None]
    small = squared < 1e-6
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine_ratio = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine_ratio = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    cross = _cross_matrix(rotvec)
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + sine_ratio * cross + cosine_ratio * (cross @ cross)


def rotmat_to_rotvec(rotmat: torch.Tensor) -> torch.Tensor:
    """The rotation vector of smallest angle, in `[0, pi]`.

    Via the quaternion, computed from its largest component, which is stable for every angle, half turns included.

    Args:
        rotmat (`torch.Tensor` of shape `(..., 3, 3)`): rotation matrices.

    Returns:
        `torch.Tensor` of shape `(..., 3)`: axis-angle, radians.
    """
    _check_last(rotmat, "rotmat", (3, 3))
    m = [[rotmat[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    # Row k is the quaternion (w, x, y, z) times four times its component k.
    candidates = torch.stack(
        [
            torch.stack([1 + trace, m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]], -1),
            torch.stack([m[2][1] - m[1][2], 1 + 2 * m[0][0] - trace, m[0][1] + m[1][0], m[0][2] + m[2][0]], -1),
            torch.stack([m[0][2] - m[2][0], m[0][1] + m[1][0], 1 + 2 * m[1][1] - trace, m[1][2] + m[2][1]], -1),
            torch.stack([m[1][0] - m[0][1], m[0][2] + m[2][0], m[1][2] + m[2][1], 1 + 2 * m[2][2] - trace], -1),
        ],
        -2,
    )
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quaternion = candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    quaternion = F.normalize(quaternion, dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    squared = imaginary.square().sum(-1, keepdim=True)
    small = squared <= 1e-12  # which is 0 in float16
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    ratio = torch.where(small, 2 + squared / 3, 2 * torch.atan2(sine, real) / sine)
    return ratio * imaginary


def rotmat_geodesic_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The angle between rotations, radians in `[0, pi]`.

    Computed as the arc sine of half the chord: the arc cosine of the trace loses half of the digits near zero, and
    identical float32 rotations would be up to 0.07 degrees apart.

    Args:
        first (`torch.Tensor` of shape `(..., 3, 3)`): rotation matrices; leading shapes broadcast.
        second (`torch.Tensor` of shape `(..., 3, 3)`): rotation matrices.

    Returns:
        `torch.Tensor` of the broadcast leading shape. Its gradient is not finite where the angle is pi.
    """
    _check_last(first, "first", (3, 3))
    _check_last(second, "second", (3, 3))
    chord = torch.linalg.matrix_norm(first - second) / 8**0.5
    return 2 * chord.clamp(max=1).asin()


def rotmat_to_rot6d(rotmat: torch.Tensor) -> torch.Tensor:
    """First two columns of `rotmat` `(..., 3, 3)`, as `(..., 6)`: `[R[:, 0], R[:, 1]]`."""
    _check_last(rotmat, "rotmat", (3, 3))
    return torch.cat([rotmat[..., 0], rotmat[..., 1]], -1)


def rot6d_to_rotmat(rot6d: torch.Tensor) -> torch.Tensor:
    """Gram-Schmidt on two columns: any six numbers that are not degenerate give a rotation.

    Args:
        rot6d (`torch.Tensor` of shape `(..., 6)`): two columns, not necessarily unit or orthogonal.

    Returns:
        `torch.Tensor` of shape `(..., 3, 3)`.
    """
    _check_last(rot6d, "rot6d", (6,))
    first = F.normalize(rot6d[..., :3], dim=-1)
    second = rot6d[..., 3:]
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], -1)


def _cross_matrix(vector: torch.Tensor) -> torch.Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def _check_last(tensor: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape[-len(shape) :]) != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"`{name}` must have shape (..., {wanted}), got {tuple(tensor.shape)}.")
