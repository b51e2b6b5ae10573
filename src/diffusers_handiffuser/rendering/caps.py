"""Closes the open ends of meshes: a hand cut out of its body ends in a ragged border around a hole.

Drawing and export close their meshes; the body model's own geometry stays as it is. Vertices and faces are only
appended, so the first ones are those of the open mesh.
"""

import math
from collections import defaultdict

import torch

_CUFF = 0.002
"""Metres by which the straight end of a wrist stands out from its farthest tooth."""
_DOME_HEIGHT = 0.25
"""Of a lid, in mean radii of its border: nearly flat, as a hand ends in an arm."""
_DOME_ANGLES = (math.pi / 6, math.pi / 3)
"""Latitudes of the rings between the border of a lid and its centre."""


def close_ends(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A watertight mesh with straight ends and rounded lids.

    Args:
        vertices (`torch.Tensor` of shape `(..., V, 3)`): metres.
        faces (`torch.LongTensor` of shape `(F, 3)`): counter-clockwise seen from outside.

    Returns:
        `tuple`: vertices and faces with those of the ends appended. Where at most two faces meet at an edge, every
        edge of the result belongs to exactly two, which run along it in opposite directions.
    """
    vertices, faces, borders = straighten_ends(vertices, faces)
    all_vertices, all_faces, count = [vertices], [faces], vertices.shape[-2]
    for border in borders:
        points = vertices[..., border, :]
        centre, outward = _opening(points)
        rise = _DOME_HEIGHT * (points - centre).norm(dim=-1, keepdim=True).mean(-2, keepdim=True) * outward
        for latitude in _DOME_ANGLES:
            ring = torch.arange(len(border), device=faces.device) + count
            all_vertices.append(centre + math.cos(latitude) * (points - centre) + math.sin(latitude) * rise)
            all_faces.append(band_between(border, ring))
            border, count = ring, count + len(ring)
        all_vertices.append(centre + rise)
        all_faces.append(torch.stack([border.roll(-1), border, torch.full_like(border, count)], -1))
        count += 1
    return torch.cat(all_vertices, -2), torch.cat(all_faces)


def straighten_ends(
    vertices: torch.Tensor, faces: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Extends a mesh beyond each of its borders to a plane, so that it ends in a straight cut instead of teeth.

    The plane is perpendicular to the mean direction of the opening, just beyond its farthest vertex.

    Args:
        vertices (`torch.Tensor` of shape `(..., V, 3)`): metres.
        faces (`torch.LongTensor` of shape `(F, 3)`): counter-clockwise seen from outside.

    Returns:
        `tuple`: vertices and faces with those of the extensions appended, and the vertices `(N,)` of each cut, in
        order.
    """
    all_vertices, all_faces, cuts, count = [vertices], [faces], [], vertices.shape[-2]
    for loop in border_loops(faces):
        border = torch.tensor(loop, device=faces.device)
        teeth = vertices[..., border, :]
        _, outward = _opening(teeth)
        height = (teeth * outward).sum(-1, keepdim=True)
        plane = height.amax(-2, keepdim=True) + _CUFF
        all_vertices.append(teeth + (plane - height) * outward)
        cuts.append(torch.arange(len(border), device=faces.device) + count)
        all_faces.append(band_between(border, cuts[-1]))
        count += len(border)
    return torch.cat(all_vertices, -2), torch.cat(all_faces), cuts


def border_loops(faces: torch.Tensor) -> list[list[int]]:
    """The borders of a mesh: vertices in the order in which its faces `(F, 3)` run along them, each loop simple."""
    start, end = faces.flatten(), faces.roll(-1, 1).flatten()
    count = int(faces.max()) + 1 if len(faces) else 1
    edges, edge = torch.unique(torch.minimum(start, end) * count + torch.maximum(start, end), return_inverse=True)
    # How many more faces run from the lower to the higher vertex than the other way.
    surplus = torch.zeros_like(edges).index_add_(0, edge, torch.where(start < end, 1, -1))
    following: defaultdict[int, list[int]] = defaultdict(list)
    for number, excess in zip(edges[surplus != 0].tolist(), surplus[surplus != 0].tolist(), strict=True):
        low, high = divmod(number, count)
        source, target = (low, high) if excess > 0 else (high, low)
        following[source] += [target] * abs(excess)
    loops = []
    for first in list(following):
        while following[first]:
            path = [first]
            while True:
                vertex = following[path[-1]].pop()
                if vertex not in path:
                    path.append(vertex)
                    continue
                # A border that touches itself is cut there into two.
                place = path.index(vertex)
                loops.append(path[place:])
                del path[place + 1 :]
                if place == 0:
                    break
    return loops


def _opening(border: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The centre and the unit normal, out of the mesh, of a border `(..., N, 3)`; both `(..., 1, 3)`."""
    centre = border.mean(-2, keepdim=True)
    spokes = border - centre
    area = torch.linalg.cross(spokes.roll(-1, -2), spokes, dim=-1).sum(-2, keepdim=True)
    return centre, torch.nn.functional.normalize(area, dim=-1)


def band_between(border: torch.Tensor, ring: torch.Tensor) -> torch.Tensor:
    """Faces `(2 N, 3)` between a border and a ring of as many vertices outside of it."""
    following, next_ring = border.roll(-1), ring.roll(-1)
    return torch.cat([torch.stack([following, border, ring], -1), torch.stack([following, ring, next_ring], -1)])
