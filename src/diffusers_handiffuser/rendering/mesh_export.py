"""Writes triangle meshes with their normals as Wavefront OBJ or binary glTF, for viewers and modelling programs.

Hands are watertight: they are closed at the wrist.

Viewers of both formats look along -z with y up, so the camera frame (y down, z forward) is rotated by half a turn
about its x axis. Units are metres.
"""

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

import torch

from ..hands.body_model import HandBodyModel
from ..hands.params import HandParams
from ..utils.atomic_files import atomic_write
from .meshes import HandMesh, visible_meshes
from .rasterizer import vertex_normals

_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def meshes_of_one_row(hand_params: HandParams, body_model: HandBodyModel) -> list[HandMesh]:
    """The visible hands of the only row; raises a `ValueError` unless there is exactly one."""
    rows = hand_params.reshape(-1)
    if len(rows) != 1:
        raise ValueError(f"`hand_params` must be one row, such as hands[0], got {len(rows)} rows.")
    return next(visible_meshes(rows, body_model))


def hands_of_an_image(hand_params: HandParams, body_model: HandBodyModel) -> list[HandMesh]:
    """The visible hands of people who share an image, where it shows them, in metres of the first person.

    The origin is the middle of the image, at the depth of each person's pelvis.
    """
    rows = hand_params.reshape(-1)
    meshes = []
    for number, (people, camera) in enumerate(zip(visible_meshes(rows, body_model), rows.camera, strict=True)):
        scale = camera[0] / rows.camera[0, 0]
        shift = torch.cat([camera[1:], camera.new_zeros(1)]).to(body_model.device)
        for mesh in people:
            name = mesh.name if len(rows) == 1 else f"person_{number}_{mesh.name}"
            meshes.append(mesh._replace(name=name, vertices=(mesh.vertices + shift) * scale.to(body_model.device)))
    return meshes


def write_obj(path: str | os.PathLike, meshes: Sequence[HandMesh]) -> None:
    """Writes Wavefront OBJ: one object per mesh, with normals and without colours."""
    lines, offset = ["# metres, y up"], 1
    for mesh in meshes:
        lines.append(f"o {mesh.name}")
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in _to_y_up(mesh.vertices).tolist()]
        lines += [f"vn {x:.6f} {y:.6f} {z:.6f}" for x, y, z in _normals(mesh).tolist()]
        lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in (mesh.faces + offset).tolist()]
        offset += len(mesh.vertices)
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_glb(path: str | os.PathLike, meshes: Sequence[HandMesh]) -> None:
    """Writes binary glTF 2.0, see [`glb_bytes`]."""
    export_glb(meshes, path)


def export_glb(meshes: Sequence[HandMesh], path: str | os.PathLike | None = None) -> bytes:
    """[`glb_bytes`], also written to `path` if it is given."""
    content = glb_bytes(meshes)
    if path is not None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return content


def glb_bytes(meshes: Sequence[HandMesh]) -> bytes:
    """Binary glTF 2.0 with one node per non-empty mesh; without any mesh, a valid empty scene."""
    chunks: list[bytes] = []
    views, accessors, shapes, nodes, materials = [], [], [], [], []

    def accessor(data: bytes, target: int, **fields: Any) -> int:
        views.append({"buffer": 0, "byteOffset": sum(map(len, chunks)), "byteLength": len(data), "target": target})
        accessors.append({"bufferView": len(views) - 1, **fields})
        chunks.append(data)
        return len(accessors) - 1

    for mesh in meshes:
        points = _to_y_up(mesh.vertices).contiguous()
        position = accessor(
            points.numpy().astype("<f4").tobytes(),
            _VERTEX_BUFFER,
            componentType=_FLOAT,
            count=len(points),
            type="VEC3",
            min=points.amin(0).tolist(),
            max=points.amax(0).tolist(),
        )
        normal = accessor(
            _normals(mesh).numpy().astype("<f4").tobytes(),
            _VERTEX_BUFFER,
            componentType=_FLOAT,
            count=len(points),
            type="VEC3",
        )
        index = accessor(
            mesh.faces.cpu().contiguous().numpy().astype("<u4").tobytes(),
            _INDEX_BUFFER,
            componentType=_UNSIGNED_INT,
            count=mesh.faces.numel(),
            type="SCALAR",
        )
        materials.append(
            {
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*mesh.color, 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                }
            }
        )
        primitive = {
            "attributes": {"POSITION": position, "NORMAL": normal},
            "indices": index,
            "material": len(materials) - 1,
        }
        shapes.append({"name": mesh.name, "primitives": [primitive]})
        nodes.append({"name": mesh.name, "mesh": len(shapes) - 1})
    body = b"".join(chunks)
    description = {
        "asset": {"version": "2.0", "generator": "diffusers_handiffuser"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}] if nodes else [{}],
        "nodes": nodes,
        "meshes": shapes,
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


def _normals(mesh: HandMesh) -> torch.Tensor:
    """Unit normals of the vertices `(V, 3)`, y up; those of vertices without a face look at the viewer."""
    normals = vertex_normals(_to_y_up(mesh.vertices)[None], mesh.faces.cpu())[0]
    return torch.where((normals == 0).all(-1, keepdim=True), normals.new_tensor([0.0, 0.0, 1.0]), normals)
