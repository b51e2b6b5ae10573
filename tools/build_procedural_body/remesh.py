"""Even triangles of a wanted size: incremental isotropic remeshing (Botsch and Kobbelt, "A Remeshing Approach to
Multiresolution Modeling", 2004) with a size that varies over the body, and a mesh with an exact number of vertices.

The mesh is the left half of the body. Its rim lies in the plane x = 0 and stays there, so that its mirror image fits.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from anatomy import HAND, WRIST
from surface import project


def edge_length(points: np.ndarray) -> np.ndarray:
    """Wanted edge length at points `(N, 3)`: short on the fingers, longer on palm and face, long on the trunk."""
    fine, palm, coarse = 0.0047, 0.0072, 0.024
    beyond_wrist = points[:, 0] - WRIST[0]
    length = np.interp(
        beyond_wrist,
        [-0.30, -0.16, -0.02, 0.03, 0.085, 0.105],
        [coarse, 0.020, 0.0085, palm, 0.95 * palm, fine],
    )
    to_thumb = np.full(len(points), np.inf)
    joints = HAND["thumb"].points + WRIST
    for segment, (start, end) in enumerate(pairwise(joints)):
        bone = end - start
        along = np.clip((points - start) @ bone / (bone @ bone), 0, 1)
        distance = np.linalg.norm(points - start - along[:, None] * bone, axis=1)
        to_thumb = np.minimum(to_thumb, distance + (0.012 if segment == 0 else 0))
    near_thumb = np.minimum(length, np.interp(to_thumb, [0.012, 0.024], [fine, 1.2 * palm]))
    length = np.where(beyond_wrist > -0.02, near_thumb, length)
    to_head = np.linalg.norm(points - (0, 0.67, 0.02), axis=1)
    return np.minimum(length, np.interp(to_head, [0.12, 0.3], [0.016, coarse]))


class EditableMesh:
    """Triangles that can be split, collapsed and flipped one edge at a time.

    Points are tuples and faces sit in a dictionary: for single edits plain Python is faster than arrays.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        self.points = [tuple(point) for point in vertices.tolist()]
        self.faces: dict[int, tuple[int, int, int]] = {}
        self.faces_of: list[set[int]] = [set() for _ in self.points]
        self.next_face = 0
        self.pinned: set[int] = set()
        for face in faces.tolist():
            self._add(tuple(face))
        self.on_rim = [False] * len(self.points)
        for a, b in self.edges():
            if self.is_rim_edge(a, b):
                self.on_rim[a] = self.on_rim[b] = True

    def edges(self) -> list[tuple[int, int]]:
        found = {}
        for a, b, c in self.faces.values():
            for edge in ((a, b), (b, c), (c, a)):
                found[min(edge), max(edge)] = None
        return list(found)

    def is_edge(self, a: int, b: int) -> bool:
        return bool(self.faces_of[a] & self.faces_of[b])

    def is_rim_edge(self, a: int, b: int) -> bool:
        return len(self.faces_of[a] & self.faces_of[b]) == 1

    def neighbours(self, a: int) -> set[int]:
        found = {vertex for face in self.faces_of[a] for vertex in self.faces[face]}
        found.discard(a)
        return found

    def num_vertices(self) -> int:
        return sum(1 for faces in self.faces_of if faces)

    def num_rim_vertices(self) -> int:
        return sum(1 for faces, rim in zip(self.faces_of, self.on_rim, strict=True) if faces and rim)

    def midpoint(self, a: int, b: int) -> tuple[float, float, float]:
        return tuple((p + q) / 2 for p, q in zip(self.points[a], self.points[b], strict=True))

    def pin(self, place: np.ndarray) -> None:
        """Moves the nearest vertex to `place`, where `relax` leaves it."""
        used = [vertex for vertex, faces in enumerate(self.faces_of) if faces]
        nearest = min(used, key=lambda vertex: math.dist(self.points[vertex], place))
        self.points[nearest] = tuple(place.tolist())
        self.pinned.add(nearest)

    def split(self, a: int, b: int) -> None:
        """Puts a vertex on the middle of an edge."""
        middle = len(self.points)
        self.points.append(self.midpoint(a, b))
        self.on_rim.append(self.is_rim_edge(a, b))
        self.faces_of.append(set())
        for number in sorted(self.faces_of[a] & self.faces_of[b]):
            face = self.faces[number]
            self._remove(number)
            self._add(tuple(middle if vertex == b else vertex for vertex in face))
            self._add(tuple(middle if vertex == a else vertex for vertex in face))

    def collapse(self, a: int, b: int, longest: float) -> bool:
        """Merges an edge into one vertex, unless that would make an edge longer than `longest`, turn a triangle over
        or change the topology."""
        if self.on_rim[a] != self.on_rim[b]:
            a, b = (a, b) if self.on_rim[a] else (b, a)
            place = self.points[a]
        elif self.on_rim[a] and not self.is_rim_edge(a, b):
            return False
        else:
            place = self.midpoint(a, b)
        shared = self.faces_of[a] & self.faces_of[b]
        opposite = {vertex for number in shared for vertex in self.faces[number]} - {a, b}
        around_a, around_b = self.neighbours(a), self.neighbours(b)
        if around_a & around_b != opposite or any(len(self.faces_of[vertex]) <= 3 for vertex in opposite):
            return False
        if any(math.dist(self.points[v], place) > longest for v in (around_a | around_b) - {a, b}):
            return False
        for moving in (a, b):
            for number in self.faces_of[moving] - shared:
                before = [self.points[vertex] for vertex in self.faces[number]]
                after = [place if vertex == moving else self.points[vertex] for vertex in self.faces[number]]
                if _cosine(_normal(*before), _normal(*after)) < 0.2:
                    return False
        for number in shared:
            self._remove(number)
        for number in sorted(self.faces_of[b]):
            face = self.faces[number]
            self._remove(number)
            self._add(tuple(a if vertex == b else vertex for vertex in face))
        self.points[a] = place
        return True

    def flip(self, a: int, b: int) -> bool:
        """Replaces an edge by the other diagonal of its two triangles if that evens out the vertices' degrees."""
        shared = sorted(self.faces_of[a] & self.faces_of[b])
        if len(shared) != 2:
            return False
        first = self.faces[shared[0]]
        if first[(first.index(a) + 1) % 3] != b:
            a, b = b, a
        c, d = (next(v for v in self.faces[number] if v not in (a, b)) for number in shared)
        if c == d or self.is_edge(c, d):
            return False

        def unevenness(change: int) -> int:
            changes = ((a, -change), (b, -change), (c, change), (d, change))
            return sum(abs(self._degree(v) + step - (4 if self.on_rim[v] else 6)) for v, step in changes)

        if unevenness(1) >= unevenness(0):
            return False
        points = self.points
        mean = tuple(
            p + q
            for p, q in zip(
                _unit(_normal(points[a], points[b], points[c])),
                _unit(_normal(points[b], points[a], points[d])),
                strict=True,
            )
        )
        new_faces = (c, a, d), (c, d, b)
        for face in new_faces:
            normal = _normal(*(points[vertex] for vertex in face))
            if sum(p * q for p, q in zip(normal, mean, strict=True)) < 0.5 * math.hypot(*normal) * math.hypot(*mean):
                return False
        for number in shared:
            self._remove(number)
        for face in new_faces:
            self._add(face)
        return True

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
        """Vertices `(V, 3)`, faces `(F, 3)`, rim `(V,)`, and each vertex's number in this object."""
        used = [vertex for vertex, faces in enumerate(self.faces_of) if faces]
        place = {vertex: k for k, vertex in enumerate(used)}
        faces = np.array([[place[vertex] for vertex in face] for face in self.faces.values()])
        return np.array([self.points[v] for v in used]), faces, np.array([self.on_rim[v] for v in used]), used

    def _degree(self, a: int) -> int:
        return len(self.faces_of[a]) + (1 if self.on_rim[a] else 0)

    def _add(self, face: tuple[int, int, int]) -> None:
        self.faces[self.next_face] = face
        for vertex in face:
            self.faces_of[vertex].add(self.next_face)
        self.next_face += 1

    def _remove(self, number: int) -> None:
        for vertex in self.faces.pop(number):
            self.faces_of[vertex].discard(number)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`(V, 3)` unit normals, triangles weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    of_faces = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], of_faces)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20)


def relax(mesh: EditableMesh, amount: float = 0.6) -> None:
    """Moves every vertex towards the mean of its neighbours within the surface; rim vertices along the rim."""
    vertices, faces, rim, used = mesh.arrays()
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0)
    total, count = np.zeros_like(vertices), np.zeros(len(vertices))
    for here, there in (edges.T, edges.T[::-1]):
        counts = ~rim[here] | rim[there]
        np.add.at(total, here[counts], vertices[there[counts]])
        np.add.at(count, here[counts], 1)
    shift = total / np.maximum(count, 1)[:, None] - vertices
    normals = vertex_normals(vertices, faces)
    normals[rim, 0] = 0
    normals[rim] /= np.linalg.norm(normals[rim], axis=1, keepdims=True) + 1e-20
    shift -= (shift * normals).sum(1, keepdims=True) * normals
    vertices = project(vertices + amount * shift)
    vertices[rim, 0] = 0
    for vertex, point in zip(used, vertices.tolist(), strict=True):
        if vertex not in mesh.pinned:
            mesh.points[vertex] = tuple(point)


def remesh(vertices: np.ndarray, faces: np.ndarray, rounds: int = 6) -> EditableMesh:
    """Edges between 4/5 and 4/3 of the wanted length, degrees near six, on the surface."""
    mesh = EditableMesh(vertices, faces)
    for round_number in range(rounds):
        if round_number > 0:
            for (a, b), relative in zip(*_relative_lengths(mesh), strict=True):
                if relative > 4 / 3:
                    mesh.split(a, b)
        _collapse_short(mesh)
        _even_out(mesh)
        relax(mesh)
    relax(mesh)
    return mesh


def finish(mesh: EditableMesh, num_vertices: int) -> None:
    """Collapses the relatively shortest edges until this half and its mirror image have `num_vertices` together, and
    puts a vertex on every fingertip."""

    def excess() -> int:
        return 2 * mesh.num_vertices() - mesh.num_rim_vertices() - num_vertices

    if excess() % 2:
        _collapse_some(mesh, 1, lambda a, b: mesh.on_rim[a] and mesh.on_rim[b] and mesh.is_rim_edge(a, b))
    if excess() < 0:
        raise RuntimeError(f"remeshing left {-excess()} vertices too few for {num_vertices}; shorten edge_length")
    _collapse_some(mesh, excess() // 2, lambda a, b: not mesh.on_rim[a] and not mesh.on_rim[b])
    for tip in project(np.array([finger.points[3] + WRIST for finger in HAND.values()])):
        mesh.pin(tip)
    for _ in range(4):
        _even_out(mesh)
        relax(mesh)


def mirrored(vertices: np.ndarray, faces: np.ndarray, rim: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The whole body from its left half: vertices, faces, and the number of each vertex's mirror image."""
    inner = np.flatnonzero(~rim)
    image = np.arange(len(vertices))
    image[inner] = len(vertices) + np.arange(len(inner))
    all_vertices = np.concatenate([vertices, vertices[inner] * (-1, 1, 1)])
    all_faces = np.concatenate([faces, image[faces][:, ::-1]])
    return all_vertices, all_faces, np.concatenate([image, inner])


def _relative_lengths(mesh: EditableMesh) -> tuple[list[tuple[int, int]], np.ndarray]:
    edges = mesh.edges()
    ends = np.array([[mesh.points[a], mesh.points[b]] for a, b in edges])
    return edges, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / edge_length(ends.mean(1))


def _collapse_short(mesh: EditableMesh) -> None:
    edges, relative = _relative_lengths(mesh)
    wanted = edge_length(np.array([mesh.midpoint(a, b) for a, b in edges]))
    for k in np.argsort(relative, kind="stable"):
        if relative[k] > 4 / 5:
            break
        a, b = edges[k]
        if mesh.is_edge(a, b) and math.dist(mesh.points[a], mesh.points[b]) <= 4 / 5 * wanted[k]:
            mesh.collapse(a, b, 4 / 3 * wanted[k])


def _collapse_some(mesh: EditableMesh, count: int, eligible) -> None:
    while count > 0:
        edges, relative = _relative_lengths(mesh)
        touched: set[int] = set()
        for k in np.argsort(relative, kind="stable"):
            a, b = edges[k]
            if count == 0:
                break
            if a in touched or b in touched or not mesh.is_edge(a, b) or not eligible(a, b):
                continue
            touched |= mesh.neighbours(a) | mesh.neighbours(b)
            count -= mesh.collapse(a, b, math.inf)


def _even_out(mesh: EditableMesh) -> None:
    for a, b in mesh.edges():
        if mesh.is_edge(a, b):
            mesh.flip(a, b)


def _normal(a, b, c) -> tuple[float, float, float]:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


def _unit(vector: Iterable[float]) -> tuple[float, ...]:
    vector = tuple(vector)
    length = math.hypot(*vector) + 1e-30
    return tuple(value / length for value in vector)


def _cosine(a, b) -> float:
    return sum(p * q for p, q in zip(_unit(a), _unit(b), strict=True))
