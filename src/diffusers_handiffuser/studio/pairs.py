"""Pairs of images that differ in one defective hand and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..hands import HandBodyModel, HandParams
from ..rendering.rasterizer import rasterize
from .defects import Defect
from .draw import Studio
from .malformed import malform
from .melting import melted
from .rest_body import RestBody, hand_weight
from .scenes import Scene, pose_scenes
from .skin import DressedMesh, SkinTexture

_VISIBLE = 0.5 / 255
"""Smaller differences are rounding."""
_MARGIN = 0.15
"""Of the hand's size: how far around it shadow and ambient occlusion may differ."""


@dataclass(frozen=True, eq=False)
class DefectPairs:
    """Images with and without a defect.

    Args:
        good (`torch.Tensor` of shape `(B, 3, size, size)`): as [`Studio.draw`] draws them, in `[0, 1]`.
        bad (`torch.Tensor` of shape `(B, 3, size, size)`): the same with one defective hand.
        mask (`torch.Tensor` of shape `(B, size, size)`, `bool`): where they differ. Everywhere else they are equal bit
            for bit.
        boxes (`torch.Tensor` of shape `(B, 4)`): `x0, y0, x1, y1`, pixels: around the hand of both images, within
            which they may differ.
        hand_params ([`HandParams`] of batch shape `(B,)`): of the good images.
        defects (`tuple` of [`Defect`]): of the bad images.
    """

    good: torch.Tensor
    bad: torch.Tensor
    mask: torch.Tensor
    boxes: torch.Tensor
    hand_params: HandParams
    defects: tuple[Defect, ...]


@torch.no_grad()
def draw_pairs(
    studio: Studio, scenes: Sequence[Scene], defects: Sequence[Defect], hand_params: HandParams | None = None
) -> DefectPairs:
    """Draws scenes with and without a defect.

    Args:
        studio ([`Studio`]): of the procedural body.
        scenes (sequence of [`Scene`]): `B` scenes; each raises the hand of its defect.
        defects (sequence of [`Defect`]): one for each scene.
        hand_params ([`HandParams`], *optional*): `B` bodies and cameras that replace those of the scenes.

    Returns:
        [`DefectPairs`].
    """
    body_model = studio.body_model
    if body_model.config.body != "procedural":
        raise ValueError(f"`studio` must draw the procedural body, but draws {body_model.config.body!r}.")
    if len(scenes) != len(defects):
        raise ValueError(f"`defects` must be one for each of {len(scenes)} scenes, got {len(defects)}.")
    for scene, defect in zip(scenes, defects, strict=True):
        if defect.side not in scene.gestures:
            raise ValueError(f"`scenes` must raise the hand of its defect, but one does not raise the {defect.side}.")
    hand_params = pose_scenes(scenes, body_model) if hand_params is None else hand_params
    good, _ = studio.draw(scenes, hand_params)
    rows = zip(scenes, defects, hand_params, good, strict=True)
    spoiled = [spoil(studio, scene, defect, params, image) for scene, defect, params, image in rows]
    bad = torch.stack([image for image, _ in spoiled])
    boxes = torch.tensor([box for _, box in spoiled])
    return DefectPairs(good, bad, (bad != good).any(1), boxes, hand_params, tuple(defects))


def spoil(
    studio: Studio, scene: Scene, defect: Defect, hand_params: HandParams, image: torch.Tensor
) -> tuple[torch.Tensor, list[int]]:
    """Draws a scene with a defect into its image.

    Args:
        studio ([`Studio`]): that drew the image.
        scene ([`Scene`]): raises the hand of the defect.
        defect ([`Defect`]): the defect.
        hand_params ([`HandParams`] of batch shape `()`): of the image.
        image (`torch.Tensor` of shape `(3, size, size)`): without the defect; stays as it is.

    Returns:
        `tuple`: a new image, and the box `[x0, y0, x1, y1]` around both hands in which it may differ, pixels.
    """
    body_model, size = studio.body_model, studio.size
    params, mesh = hand_params.to(body_model.device), studio.mesh_of(scene)
    before = RestBody.of(body_model, params, mesh.faces, mesh.textured_as)
    after = RestBody.of(body_model, params, mesh.faces, mesh.textured_as)
    malform(after, defect)
    vertices, changed = before.posed(), after.posed()
    hands = [points[hand_weight(body, defect.side) > 0.02] for body, points in ((before, vertices), (after, changed))]
    x0, y0, x1, y1 = box = _box(torch.cat(hands), params.camera, size)
    if defect.kind == "blurred":
        pixels = _hand_pixels(before, vertices, defect.side, params.camera, size)
        drawn = melted(image, pixels.cpu(), defect.amount, defect.seed)
    else:
        dressed = _dressed(mesh, after, defect, body_model)
        shadows_of = (vertices[None], mesh.faces)
        drawn = studio.draw_mesh(dressed, [scene], changed[None], params.camera[None], shadows_of)[0].cpu()
    differs = torch.zeros(size, size, dtype=torch.bool)
    differs[y0:y1, x0:x1] = (drawn - image).abs().amax(0)[y0:y1, x0:x1] > _VISIBLE
    return torch.where(differs, drawn, image), box


def _box(vertices: torch.Tensor, camera: torch.Tensor, size: int) -> list[int]:
    """`x0, y0, x1, y1` around vertices with a margin, cut at the borders of the image."""
    points = (camera[0] * (vertices[:, :2] + camera[1:]) + 1) * (size / 2)
    low, high = points.amin(0), points.amax(0)
    margin = _MARGIN * float((high - low).max())
    low, high = (low - margin).floor().clamp(0, size), (high + margin).ceil().clamp(0, size)
    return [int(v) for v in (*low.tolist(), *high.tolist())]


def _dressed(mesh: DressedMesh, body: RestBody, defect: Defect, body_model: HandBodyModel) -> DressedMesh:
    """The colours of a changed body: each face keeps those of the face that it is or is a copy of."""
    rest, texture, textured_as = body_model.template[body.source_vertex], mesh.texture, body.source_face
    # Copies from the other side have the clothes of this one.
    copies = rest[body_model.config.num_vertices :]
    copies[:, 0] = copies[:, 0].abs() * (1 if defect.side == "left" else -1)
    new = (textured_as < 0).nonzero()[:, 0]
    if len(new):
        mean = RestBody.of(body_model, None, mesh.faces, mesh.textured_as)
        malform(mean, defect)
        textured_as = textured_as.clone()
        textured_as[new] = torch.arange(len(new), device=new.device) + len(texture.masks)
        texture = texture.extended(SkinTexture.of_body(body_model, mean.vertices, mean.faces, new))
    return DressedMesh(body.faces, rest, texture, textured_as)


def _hand_pixels(body: RestBody, vertices: torch.Tensor, side: str, camera: torch.Tensor, size: int) -> torch.Tensor:
    """`(size, size)`: 1 where a hand is visible."""
    screen = torch.cat([(camera[0] * (vertices[:, :2] + camera[1:]) + 1) * (size / 2), vertices[:, 2:]], -1)
    seen = rasterize(screen[None], body.faces, size, size)
    hand = (hand_weight(body, side) > 0.5)[body.faces].all(1)
    pixels = torch.zeros(size * size, device=vertices.device)
    pixels[seen.pixel[hand[seen.face]]] = 1
    return pixels.view(size, size)
