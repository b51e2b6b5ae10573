"""Renders posed bodies: soft key light, shadow, ambient occlusion, procedural backgrounds; batched, CPU or GPU."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..rendering.rasterizer import Fragments, rasterize, vertex_normals


def render(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    camera: torch.Tensor,
    size: int,
    albedo: Callable[[Fragments], torch.Tensor],
    light: torch.Tensor,
    background: torch.Tensor,
    supersampling: int = 2,
    *,
    shadows_of: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Renders one mesh per image.

    Args:
        vertices (`torch.Tensor` of shape `(B, V, 3)`): metres, camera frame.
        faces (`torch.LongTensor` of shape `(F, 3)`): vertex indices.
        camera (`torch.Tensor` of shape `(B, 3)`): weak perspective, as in `HandParams`.
        size (`int`): pixels per side.
        albedo (`Callable`): maps [`Fragments`] to `(N, 3)` colours in `[0, 1]`.
        light (`torch.Tensor` of shape `(B, 3)`): direction towards the light, camera frame.
        background (`torch.Tensor` of shape `(B, 3, size, size)`): background images.
        supersampling (`int`): samples per pixel and axis.
        shadows_of (`tuple`, *optional*): vertices `(B, V', 3)` and faces `(F', 3)` that the shadow maps cover, by
            default those of the meshes. Meshes that share it have the same shadows where they are equal.

    Returns:
        `tuple`: images `(B, 3, size, size)` in `[0, 1]`, and coverage `(B, 1, size, size)`.
    """
    batch, fine = len(vertices), size * supersampling
    screen = _screen(vertices, camera, fine)
    seen = rasterize(screen, faces, fine, fine)
    normals = vertex_normals(vertices, faces)
    normal = F.normalize(seen.interpolate(normals, faces), dim=-1)
    light = F.normalize(light, dim=-1)
    towards = light[seen.image]
    facing = (normal * towards).sum(-1)
    covered, covered_faces = shadows_of or (vertices, faces)
    sphere = _shadow_sphere(covered, covered_faces, _screen(covered, camera, fine), fine)
    lit = _shadow(vertices, faces, seen, normal, light, sphere)
    open_sky = _ambient_occlusion(seen, fine)

    # Light wraps further around skin in red than in blue.
    wrap = torch.stack([((facing + k) / (1 + k)).clamp(0, 1) for k in (0.35, 0.18, 0.12)], -1)
    halfway = F.normalize(towards + towards.new_tensor([0.0, 0.0, -1.0]), dim=-1)
    gloss = 0.13 * (normal * halfway).sum(-1).clamp(0, 1) ** 22 * lit * (facing > 0)
    hemisphere = 0.75 - 0.25 * normal[:, 1]
    shade = 0.44 * (hemisphere * open_sky)[:, None]
    shade = shade + 0.72 * wrap * ((0.25 + 0.75 * lit) * open_sky.sqrt())[:, None]
    color = albedo(seen) * shade + gloss[:, None]

    image = background.repeat_interleave(supersampling, 2).repeat_interleave(supersampling, 3)
    image = image.permute(0, 2, 3, 1).reshape(-1, 3).clone()
    image[seen.pixel] = color
    coverage = torch.zeros(batch * fine * fine, 1, dtype=vertices.dtype, device=vertices.device)
    coverage[seen.pixel] = 1
    image, coverage = (
        F.avg_pool2d(t.view(batch, fine, fine, -1).permute(0, 3, 1, 2), supersampling) for t in (image, coverage)
    )
    return image.clamp(0, 1), coverage


def _screen(vertices: torch.Tensor, camera: torch.Tensor, fine: int) -> torch.Tensor:
    """Vertices `(B, V, 3)` in samples across and down, and depth."""
    scale = camera[:, None, :1]
    return torch.cat([(scale * (vertices[..., :2] + camera[:, None, 1:]) + 1) * (fine / 2), vertices[..., 2:]], -1)


def _shadow_sphere(
    vertices: torch.Tensor, faces: torch.Tensor, screen: torch.Tensor, fine: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres `(B, 3)` and radii `(B,)`, metres, of what shadow maps cover: the vertices in and near the image."""
    inside = ((screen[..., :2] > -0.15 * fine) & (screen[..., :2] < 1.15 * fine)).all(-1, keepdim=True)
    used = torch.zeros(vertices.shape[1], dtype=torch.bool, device=vertices.device)
    used[faces.flatten()] = True
    inside = inside & used[:, None]
    low = vertices.masked_fill(~inside, torch.inf).amin(1)
    high = vertices.masked_fill(~inside, -torch.inf).amax(1)
    empty = ~torch.isfinite(low).all(-1, keepdim=True)
    low, high = low.masked_fill(empty, -1.0), high.masked_fill(empty, 1.0)
    return (low + high) / 2, (high - low).norm(dim=-1) / 2


def _shadow(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    seen: Fragments,
    normal: torch.Tensor,
    light: torch.Tensor,
    sphere: tuple[torch.Tensor, torch.Tensor],
    resolution: int = 192,
) -> torch.Tensor:
    """`(N,)` 0 in shadow, 1 in light: a percentage-closer shadow map."""
    centre, radius = sphere
    right = F.normalize(
        torch.linalg.cross(light, light.new_tensor([[0.2, 1.0, 0.1]]).expand_as(light), dim=-1), dim=-1
    )
    axes = torch.stack([right, torch.linalg.cross(light, right, dim=-1), -light], 1)
    scale = 0.49 * resolution / radius
    view = (vertices - centre[:, None]) @ axes.transpose(1, 2)
    view = torch.cat([resolution / 2 + view[..., :2] * scale[:, None, None], view[..., 2:]], -1)
    nearest = rasterize(view, faces, resolution, resolution, cull_backfaces=False).depth.flatten()

    texel = (1 / scale)[seen.image]
    facing = (normal * light[seen.image]).sum(-1).clamp(0, 1)
    point = seen.interpolate(vertices, faces) + normal * (texel * (0.8 + 1.6 * (1 - facing)))[:, None]
    local = ((point - centre[seen.image])[:, None] * axes[seen.image]).sum(-1)
    xy = resolution / 2 + local[:, :2] * scale[seen.image, None]
    lit = torch.zeros_like(facing)
    offsets = ((-0.7, -0.7), (0.7, -0.7), (-0.7, 0.7), (0.7, 0.7), (0.0, 0.0))
    for dx, dy in offsets:
        column = (xy[:, 0] + dx).long().clamp(0, resolution - 1)
        row = (xy[:, 1] + dy).long().clamp(0, resolution - 1)
        blocker = nearest[(seen.image * resolution + row) * resolution + column]
        lit = lit + (local[:, 2] < blocker + 0.6 * texel) / len(offsets)
    return lit


def _ambient_occlusion(seen: Fragments, fine: int) -> torch.Tensor:
    """`(N,)` 1 in the open, down to 0.6 where the surroundings are closer to the viewer."""
    covered = torch.isfinite(seen.depth)
    farthest = seen.depth.masked_fill(~covered, -torch.inf).amax((1, 2), keepdim=True)
    depth = torch.where(covered, seen.depth, torch.nan_to_num(farthest, neginf=0.0) + 0.02)[:, None]
    window = max(1, fine // 28) | 1
    around = F.avg_pool2d(F.avg_pool2d(depth, 2), window, 1, window // 2, count_include_pad=False)
    around = F.interpolate(around, size=(fine, fine), mode="bilinear", align_corners=False)
    return 1 - 0.40 * ((depth - around) / 0.012).clamp(0, 1).flatten()[seen.pixel]


def draw_background(color: torch.Tensor, texture: str, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws a background.

    Args:
        color (`torch.Tensor` of shape `(3,)`): base colour in `[0, 1]`.
        texture (`str`): `"plain"`, `"striped"`, `"checkered"`, `"dotted"` or `"blurry"`.
        size (`int`): pixels per side.
        generator (`torch.Generator`): on the CPU; determines phase, angle and spacing.

    Returns:
        `torch.Tensor` of shape `(3, size, size)` in `[0, 1]`, with a mean near `color`.
    """
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    random = torch.rand(4, generator=generator)
    shade = 0.10 * ((random[0] - 0.5) * u + (random[1] - 0.5) * v)
    spacing, angle = 5.0 + 3.0 * random[2], 3.14159 * random[3]
    along = u * torch.cos(angle) + v * torch.sin(angle)
    across = v * torch.cos(angle) - u * torch.sin(angle)
    if texture == "striped":
        pattern = torch.sin(2 * spacing * along)
    elif texture == "checkered":
        pattern = torch.sin(1.4 * spacing * u + 6 * random[3]) * torch.sin(1.4 * spacing * v)
    elif texture == "dotted":
        pattern = 1.6 * (torch.cos(2.2 * spacing * along) + torch.cos(2.2 * spacing * across) - 0.9)
    elif texture == "blurry":
        noise = torch.randn(1, 1, 6, 6, generator=generator)
        pattern = 0.25 * F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[0, 0]
    elif texture == "plain":
        pattern = torch.zeros_like(u)
    else:
        raise ValueError(f"`texture` must be plain, striped, checkered, dotted or blurry, got {texture!r}.")
    # A bounded pattern shifts the colour towards white where it is dark and towards black where it is light.
    step = 0.16 if float(color.mean()) < 0.5 else -0.16
    if texture != "blurry":
        pattern = (6 * pattern).clamp(-1, 1) if texture != "plain" else pattern
    return (color[:, None, None] + shade + step * (pattern + (texture not in ("plain", "blurry"))) / 1.5).clamp(0, 1)
