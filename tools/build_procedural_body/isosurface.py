"""From the distance field to a first triangle mesh of the left half, by marching cubes on a graded grid."""

from itertools import pairwise

import numpy as np
from skimage.measure import marching_cubes

from anatomy import WRIST
from surface import body

FINE, COARSE = 0.003, 0.022
MIDDLE = (FINE + COARSE) / 3


def graded_axis(*knots: tuple[float, float]) -> np.ndarray:
    """Grid lines from the first knot to the last, each knot being a place and the spacing from there on."""
    lines = []
    for (start, spacing), (end, _) in pairwise(knots):
        lines.append(np.linspace(start, end, max(1, round((end - start) / spacing)), endpoint=False))
    return np.concatenate([*lines, [knots[-1][0]]])


def half_body() -> tuple[np.ndarray, np.ndarray]:
    """Vertices `(V, 3)` and faces `(F, 3)` of the half x >= 0. It is open in the plane x = 0 and nowhere else.

    The grid is 3 mm fine around the hand and centimetres elsewhere.
    """
    x, y, z = WRIST
    axes = [
        graded_axis((0, COARSE), (x - 0.10, MIDDLE), (x - 0.02, FINE), (x + 0.200, FINE), (x + 0.206, 0)),
        graded_axis(
            (-1.02, COARSE), (y - 0.11, MIDDLE), (y - 0.045, FINE), (y + 0.030, MIDDLE), (y + 0.07, COARSE), (0.84, 0)
        ),
        graded_axis(
            (-0.18, COARSE), (z - 0.10, MIDDLE), (z - 0.065, FINE), (z + 0.105, MIDDLE), (z + 0.13, COARSE), (0.24, 0)
        ),
    ]
    across = np.stack(np.meshgrid(axes[1], axes[2], indexing="ij"), -1).reshape(-1, 2)
    sheets = [body(np.column_stack([np.full(len(across), x), across])) for x in axes[0]]
    field = np.stack(sheets).reshape([len(axis) for axis in axes])
    steps, faces, _, _ = marching_cubes(field, 0.0)
    vertices = np.stack([np.interp(steps[:, k], np.arange(len(axis)), axis) for k, axis in enumerate(axes)], 1)
    vertices[np.abs(vertices[:, 0]) < 1e-9, 0] = 0
    return vertices, faces.astype(np.int64)
