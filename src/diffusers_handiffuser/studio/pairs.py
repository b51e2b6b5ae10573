"""Pairs of images that differ in one defective hand and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..hands import HandBodyModel, HandParams
from ..rendering.rasterizer import rasterize
from .defects import Defect
from .draw import Studio
from .malformed import RestBody, hand_weight, malform
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
    body_model, device = studio.body_model, studio.body_model.device
    if body_model.config.body != "procedural":
        raise ValueError(f"`studio` must draw the procedural body, but draws {body_model.config.body!r}.")
    if len(scenes) != len(defects):
        raise ValueError(f"`defects` must be one for each of {len(scenes)} scenes, got {len(defects)}.")
    for scene, defect in zip(scenes, defects, strict=True):
        if defect.side not in scene.gestures:
            raise ValueError(f"`scenes` must raise the hand of its defect, but one does not raise the {defect.side}.")
    hand_params = pose_scenes(scenes, body_model) if hand_params is None else hand_params
    good, _ = studio.draw(scenes, hand_params)
    bad, boxes = good.clone(), torch.zeros(len(scenes), 4, dtype=torch.long)
    for i, (scene, defect) in enumerate(zip(scenes, defects, strict=True)):
        params = hand_params[i].to(device)
        mesh = studio.mesh_of(scene)
        before = RestBody.of(body_model, params, mesh.faces, mesh.textured_as)
        after = RestBody.of(body_model, params, mesh.faces, mesh.textured_as)
        malform(after, defect)
        vertices, changed = before.posed(), after.posed()
        box = _box(
            torch.cat(
                [
                    points[hand_weight(body, defect.side) > 0.02]
                    for body, points in ((before, vertices), (after, changed))
                ]
            ),
            params.camera,
            studio.size,
        )
        boxes[i] = torch.tensor(box)
        if defect.kind == "blurred":
            hand = _hand_pixels(before, vertices, defect.side, params.camera, studio.size)
            image = _melted(good[i], hand.cpu(), defect)
        else:
            image = studio.draw_mesh(
                _dressed(mesh, after, defect, body_model),
                [scene],
                changed[None],
                params.camera[None],
                shadows_of=(vertices[None], mesh.faces),
            )[0].cpu()
        inside = torch.zeros(studio.size, studio.size, dtype=torch.bool)
        inside[box[1] : box[3], box[0] : box[2]] = True
        differs = inside & ((image - good[i]).abs().amax(0) > _VISIBLE)
        bad[i] = torch.where(differs, image, good[i])
    mask = (bad != good).any(1)
    return DefectPairs(good, bad, mask, boxes, hand_params, tuple(defects))


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


def _melted(image: torch.Tensor, hand: torch.Tensor, defect: Defect) -> torch.Tensor:
    """An image `(3, size, size)` whose hand `(size, size)` is warped by smooth noise and smeared."""
    size = image.shape[-1]
    rows, columns = hand.nonzero().unbind(1)
    if not len(rows):
        return image
    extent = float(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
    generator = torch.Generator().manual_seed(defect.seed)
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([u, v], -1)
    # Noise on a grid of the hand's own size, so that a small hand melts like a large one.
    cells = max(4, round(7 * size / extent))
    noise = torch.randn(1, 2, min(cells, 64), min(cells, 64), generator=generator)
    flow = F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    shift = 0.055 * defect.amount * extent / size * 2 * flow
    soft = _blurred(hand[None], 0.03 * extent)[0].clamp(0, 1)
    soft = (2.5 * soft).clamp(0, 1)
    source = (grid + soft[..., None] * shift)[None]
    melted = F.grid_sample(image[None], source, mode="bilinear", padding_mode="border", align_corners=False)[0]
    melted = _blurred(melted, 0.022 * defect.amount * extent)
    return torch.lerp(image, melted, soft)


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of an image `(C, H, W)`; `sigma` in pixels."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 0.3)) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]
