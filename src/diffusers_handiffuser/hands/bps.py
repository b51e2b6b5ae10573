"""Basis Point Sets: a cloud of points as its distances to a fixed set (Prokudin et al., ICCV 2019).

The number of vertices of a hand mesh depends on the body model; the number of basis points does not, so the joint
encoder reads meshes this way.
"""

import torch


def ball_basis(num_points: int, radius: float, seed: int = 0) -> torch.Tensor:
    """`(num_points, 3)` points drawn uniformly from a ball of `radius` metres around the origin.

    The global random state is untouched; the same seed gives the same points.
    """
    if num_points < 1:
        raise ValueError(f"`num_points` must be at least 1, got {num_points}.")
    if not radius > 0:
        raise ValueError(f"`radius` must be positive, got {radius}.")
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(num_points, 3, generator=generator), dim=-1)
    return direction * radius * torch.rand(num_points, 1, generator=generator) ** (1 / 3)


def basis_point_distances(points: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Distance from every basis point to its nearest point.

    Distances are taken directly: the matrix-multiplication shortcut of `torch.cdist` is off by tenths of a millimetre.
    Clouds are processed one by one, which bounds memory at `N x V` numbers.

    Args:
        points (`torch.Tensor` of shape `(..., V, 3)`): metres, in the frame of the basis.
        basis (`torch.Tensor` of shape `(N, 3)`): metres.

    Returns:
        `torch.Tensor` of shape `(..., N)`: metres.
    """
    if points.shape[-1:] != (3,) or points.ndim < 2 or points.shape[-2] == 0:
        raise ValueError(f"`points` must have shape (..., V, 3) with V > 0, got {tuple(points.shape)}.")
    if basis.ndim != 2 or basis.shape[-1] != 3:
        raise ValueError(f"`basis` must have shape (N, 3), got {tuple(basis.shape)}.")
    clouds = points.reshape(-1, *points.shape[-2:])
    basis = basis.to(clouds)
    distances = [torch.cdist(basis, cloud, compute_mode="donot_use_mm_for_euclid_dist").amin(-1) for cloud in clouds]
    result = torch.stack(distances) if distances else clouds.new_zeros(0, len(basis))
    return result.reshape(*points.shape[:-2], len(basis))
