"""The surfaces of a person that an image may show: hands, forearms and the rest of the body."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from ..hands.body_arrays import HAND_JOINTS, dense_weights
from ..hands.body_model import HandBodyModel
from ..hands.params import HandParams
from ..hands.skeleton import PARENTS
from .caps import close_ends
from .rasterizer import vertex_normals

PARTS = ("hands", "forearms", "body")


class Surface(NamedTuple):
    """Any number of closed meshes as one.

    Args:
        vertices (`torch.Tensor` of shape `(V, 3)`): metres, camera frame.
        faces (`torch.LongTensor` of shape `(F, 3)`): counter-clockwise seen from outside.
        skin (`torch.Tensor` of shape `(F,)`, `bool`): the body's own faces; the others close its ends.
    """

    vertices: torch.Tensor
    faces: torch.Tensor
    skin: torch.Tensor

    def normals(self) -> torch.Tensor:
        """Unit normals of the vertices `(V, 3)`, pointing outwards. Those of the skin do not depend on the ends."""
        skin, ends = (vertex_normals(self.vertices[None], self.faces[which])[0] for which in (self.skin, ~self.skin))
        return torch.where((skin != 0).any(-1, keepdim=True), skin, ends)


def visible_surfaces(
    hand_params: HandParams, body_model: HandBodyModel, parts: Sequence[str] = ("hands",)
) -> Iterator[Surface]:
    """For every row, the surface of some parts, closed where they are cut off from the rest.

    Args:
        hand_params ([`HandParams`]): any batch shape, on any device.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        parts (sequence of `str`): some of `"hands"`, the visible ones; `"forearms"`, those of visible hands; and
            `"body"`, all but the hands.
    """
    rows = hand_params.to(body_model.device).reshape(-1)
    if set(parts) == {"hands"}:
        yield from _hands_alone(rows, body_model)
        return
    body = body_model.full_mesh(rows)
    hand_faces, forearm_faces = _faces_of_arms(body_model)
    for vertices, visible in zip(body.vertices, rows.hand_visible, strict=True):
        chosen = ~hand_faces.any(0) if "body" in parts else torch.zeros_like(hand_faces[0])
        for part, faces in (("hands", hand_faces), ("forearms", forearm_faces)):
            if part in parts:
                chosen = chosen | (faces & visible[:, None]).any(0)
        yield _closed(vertices, body.faces[chosen])


def join_surfaces(surfaces: Sequence[Surface], device: torch.device) -> Surface:
    """Any number of surfaces as one."""
    nothing = torch.empty(0, 3, device=device)
    no_faces = nothing.long()
    faces, count = [no_faces], 0
    for surface in surfaces:
        faces.append(surface.faces + count)
        count += len(surface.vertices)
    return Surface(
        vertices=torch.cat([nothing, *(surface.vertices for surface in surfaces)]),
        faces=torch.cat(faces),
        skin=torch.cat([no_faces[:, 0].bool(), *(surface.skin for surface in surfaces)]),
    )


def _hands_alone(rows: HandParams, body_model: HandBodyModel) -> Iterator[Surface]:
    """From the geometry of the hands, which takes a quarter of the time of the whole body's."""
    geometry = body_model(rows)
    pair = (
        (geometry.left_vertices, body_model.left_faces),
        (geometry.right_vertices, body_model.right_faces),
    )
    shown: list[list[Surface]] = [[] for _ in range(len(rows))]
    for (vertices, faces), visible in zip(pair, rows.hand_visible.unbind(1), strict=True):
        which = visible.nonzero()[:, 0]
        if len(which):
            hands = _closed(vertices[which], faces)
            for row, hand in zip(which.tolist(), hands.vertices, strict=True):
                shown[row].append(hands._replace(vertices=hand))
    for hands_of_row in shown:
        yield join_surfaces(hands_of_row, body_model.device)


def _closed(vertices: torch.Tensor, faces: torch.Tensor) -> Surface:
    """The surface of open meshes `(..., V, 3)`."""
    closed, closed_faces = close_ends(vertices, faces)
    return Surface(closed, closed_faces, skin=torch.arange(len(closed_faces), device=faces.device) < len(faces))


def _faces_of_arms(body_model: HandBodyModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Which faces of the body are the left and right hand's, and the forearms': two `(2, F)`, bool.

    As in [`HandBodyModel`], a vertex belongs to the joints that have more than half of its skinning weights.
    """
    weights = dense_weights(body_model)
    hands, arms = (
        torch.stack([(weights[:, list(joints)].sum(1) > 0.5)[body_model.faces].all(1) for joints in sides])
        for sides in (HAND_JOINTS, [(PARENTS[joints[0]], *joints) for joints in HAND_JOINTS])
    )
    return hands, arms & ~hands
