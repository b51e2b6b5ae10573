"""Writes triangle meshes as Wavefront OBJ or binary glTF, for viewers and modelling programs.

Both formats look along -z with y up, so the camera frame (y down, z forward) is turned half round its x axis on the
way out. Units are metres.
"""

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

import torch

from ..hands.body_model import HandBodyModel
from ..hands.params import HandParams
from ..hands.skeleton import SIDES
from ..utils.atomic_files import atomic_write
from .drawing import HAND_COLORS

_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def visible_meshes(
    hand_params: HandParams, body_model: HandBodyModel
) -> tuple[list[str], list[torch.Tensor], list[torch.Tensor], list[tuple[float, float, float]]]:
    """Names, vertices, faces and colours of the visible hands of one row, as [`glb_bytes`] takes them.

    Args:
        hand_params (`HandParams` of one row): on any device.
        body_model ([`HandBodyModel`]).
    """
    rows = hand_params.reshape(-1)
    if len(rows) != 1:
        raise ValueError(f"`hand_params` must be one row, such as hands[0], got {len(rows)} rows.")
    geometry = body_model(rows.to(body_model.device))
    vertices = {"left": geometry.left_vertices[0], "right": geometry.right_vertices[0]}
    faces = {"left": body_model.left_faces, "right": body_model.right_faces}
    seen = [side for side, visible in zip(SIDES, rows.hand_visible[0].tolist(), strict=True) if visible]
    return (
        [f"{side}_hand" for side in seen],
        [vertices[side] for side in seen],
        [faces[side] for side in seen],
        [HAND_COLORS[side] for side in seen],
    )


def write_obj(
    path: str | os.PathLike, names: Sequence[str], vertices: Sequence[torch.Tensor], faces: Sequence[torch.Tensor]
) -> None:
    """One object per mesh.

    Args:
        path: where to.
        names (sequence of `str`): of the meshes.
        vertices (sequence of `torch.Tensor` of shape `(V, 3)`): metres, camera frame.
        faces (sequence of `torch.LongTensor` of shape `(F, 3)`).
    """
    lines, offset = ["# metres, y up"], 1
    for name, points, triangles in zip(names, vertices, faces, strict=True):
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in _to_y_up(points).tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (triangles + offset).tolist()]
        offset += len(points)
    with atomic_write(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_glb(
    path: str | os.PathLike,
    names: Sequence[str],
    vertices: Sequence[torch.Tensor],
    faces: Sequence[torch.Tensor],
    colors: Sequence[tuple[float, float, float]],
) -> None:
    """glTF 2.0 in one file, see [`glb_bytes`]; `path`, names, vertices and faces as in [`write_obj`]."""
    content = glb_bytes(names, vertices, faces, colors)
    with atomic_write(path) as aside:
        aside.write_bytes(content)


def glb_bytes(
    names: Sequence[str],
    vertices: Sequence[torch.Tensor],
    faces: Sequence[torch.Tensor],
    colors: Sequence[tuple[float, float, float]],
) -> bytes:
    """Binary glTF 2.0; one node per mesh. No mesh at all makes a legal, empty scene.

    Args:
        names, vertices, faces: as in [`write_obj`]; meshes must not be empty.
        colors (sequence of `tuple[float, float, float]`): one per mesh, linear RGB in `[0, 1]`.
    """
    chunks: list[bytes] = []
    views, accessors, meshes, nodes, materials = [], [], [], [], []

    def accessor(data: bytes, target: int, **fields: Any) -> int:
        views.append({"buffer": 0, "byteOffset": sum(map(len, chunks)), "byteLength": len(data), "target": target})
        accessors.append({"bufferView": len(views) - 1, **fields})
        chunks.append(data)
        return len(accessors) - 1

    for name, points, triangles, color in zip(names, vertices, faces, colors, strict=True):
        points = _to_y_up(points).contiguous()
        position = accessor(
            points.numpy().astype("<f4").tobytes(),
            _VERTEX_BUFFER,
            componentType=_FLOAT,
            count=len(points),
            type="VEC3",
            min=points.amin(0).tolist(),
            max=points.amax(0).tolist(),
        )
        index = accessor(
            triangles.cpu().contiguous().numpy().astype("<u4").tobytes(),
            _INDEX_BUFFER,
            componentType=_UNSIGNED_INT,
            count=triangles.numel(),
            type="SCALAR",
        )
        materials.append(
            {"pbrMetallicRoughness": {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}}
        )
        primitive = {"attributes": {"POSITION": position}, "indices": index, "material": len(materials) - 1}
        meshes.append({"name": name, "primitives": [primitive]})
        nodes.append({"name": name, "mesh": len(meshes) - 1})
    body = b"".join(chunks)
    description = {
        "asset": {"version": "2.0", "generator": "diffusers_handiffuser"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}] if nodes else [{}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}] if body else [],
    }
    description = {key: value for key, value in description.items() if value != []}
    text = json.dumps(description).encode()
    text += b" " * (-len(text) % 4)
    content = struct.pack("<I4s", len(text), b"JSON") + text
    if body:
        content += struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(content)) + content


def _to_y_up(points: torch.Tensor) -> torch.Tensor:
    points = points.detach().float().cpu()
    return points * points.new_tensor([1.0, -1.0, -1.0])
