"""The weak-perspective camera of `HandParams`.

A point `(x, y, z)` of the camera frame (x right, y down, z forward, metres, pelvis at the origin) is drawn at
`u = s (x + tx)`, `v = s (y + ty)`. `[-1, 1]` spans the image's square: all of a square image, else the centred square
over the shorter side.
"""

import torch


def project_weak_perspective(points: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Projects points of the camera frame.

    Args:
        points (`torch.Tensor` of shape `(..., N, 3)`): metres, camera frame.
        camera (`torch.Tensor` of shape `(..., 3)`): `(s, tx, ty)`; `s` per metre, `tx` and `ty` metres.

    Returns:
        `torch.Tensor` of shape `(..., N, 2)`: `(u, v)`, in `[-1, 1]` over the image's square.
    """
    if points.shape[-1:] != (3,) or points.ndim < 2:
        raise ValueError(f"`points` must have shape (..., N, 3), got {tuple(points.shape)}.")
    if camera.shape[-1:] != (3,):
        raise ValueError(f"`camera` must have shape (..., 3), got {tuple(camera.shape)}.")
    scale, shift = camera[..., None, :1], camera[..., None, 1:]
    return scale * (points[..., :2] + shift)


def square_to_pixels(points_2d: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`(u, v)` in `[-1, 1]` to pixels.

    Args:
        points_2d (`torch.Tensor` of shape `(..., 2)`): `(u, v)`.
        height (`int`): of the image, pixels.
        width (`int`): of the image, pixels.

    Returns:
        `torch.Tensor` of shape `(..., 2)`: `(x, y)` in pixels; the first pixel covers 0 to 1, so its centre is at 0.5.
    """
    centre = points_2d.new_tensor([width / 2, height / 2])
    return points_2d * (min(height, width) / 2) + centre
