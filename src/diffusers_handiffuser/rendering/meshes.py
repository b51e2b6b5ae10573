"""Meshes of the visible hands, for drawing and export."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from ..hands.body_model import HandBodyModel
from ..hands.params import HandParams
from ..hands.skeleton import SIDES
from .caps import close_ends

HAND_COLORS = {"left": (0.55, 0.72, 0.90), "right": (0.93, 0.72, 0.55)}
"""Bluish for the left hand, orange for the right."""


class HandMesh(NamedTuple):
    """The mesh of one hand.

    Args:
        name (`str`): `"left_hand"` or `"right_hand"`.
        vertices (`torch.Tensor` of shape `(V, 3)`): metres, camera frame, on the body model's device.
        faces (`torch.Tensor` of shape `(F, 3)`): counter-clockwise seen from outside.
        color (`tuple[float, float, float]`): RGB in `[0, 1]`.
    """

    name: str
    vertices: torch.Tensor
    faces: torch.Tensor
    color: tuple[float, float, float]


def rows_of_images(hand_params: HandParams, people: bool) -> list[HandParams]:
    """The rows that each image shows, of batch shape `(P,)`: one row, or with `people` all of the last batch axis."""
    shape = hand_params.batch_shape
    number = shape[-1] if people and shape else 1
    rows = hand_params.reshape(math.prod(shape))
    images = math.prod(shape[:-1]) if people else len(rows)
    return [rows[image * number : (image + 1) * number] for image in range(images)]


def visible_meshes(hand_params: HandParams, body_model: HandBodyModel) -> Iterator[list[HandMesh]]:
    """For every row, the meshes of its visible hands, the left one first, closed at the wrist.

    Their first vertices and faces are those of the body model.

    Args:
        hand_params ([`HandParams`]): any batch shape, on any device.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
    """
    rows = hand_params.to(body_model.device).reshape(-1)
    geometry = body_model(rows)
    hands = [
        close_ends(geometry.left_vertices, body_model.left_faces),
        close_ends(geometry.right_vertices, body_model.right_faces),
    ]
    for row, visible in enumerate(rows.hand_visible.tolist()):
        yield [
            HandMesh(f"{side}_hand", vertices[row], faces, HAND_COLORS[side])
            for side, (vertices, faces), shown in zip(SIDES, hands, visible, strict=True)
            if shown
        ]


def join_meshes(meshes: Sequence[HandMesh], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joins any number of meshes into one: vertices `(V, 3)`, faces `(F, 3)` and vertex colours `(V, 3)`."""
    vertices = [torch.empty(0, 3, device=device)]
    faces = [torch.empty(0, 3, dtype=torch.long, device=device)]
    colors = [torch.empty(0, 3, device=device)]
    first = 0
    for mesh in meshes:
        vertices.append(mesh.vertices)
        faces.append(mesh.faces + first)
        colors.append(torch.tensor(mesh.color, device=device).expand(len(mesh.vertices), 3))
        first += len(mesh.vertices)
    return torch.cat(vertices), torch.cat(faces), torch.cat(colors)
