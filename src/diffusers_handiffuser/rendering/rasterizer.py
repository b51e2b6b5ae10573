"""A batched z-buffer in pure torch: any device, no OpenGL, no display, no compiled extension.

For every pixel it finds the nearest face and the barycentric coordinates of the pixel's centre in it; shading is left
to the caller.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Fragments:
    """The result of rasterization: one entry for each of the `N` pixels that a face covers.

    Args:
        pixel (`torch.LongTensor` of shape `(N,)`): index into the flattened `(B, H, W)` images.
        image (`torch.LongTensor` of shape `(N,)`): the batch row, `0 ... B - 1`.
        face (`torch.LongTensor` of shape `(N,)`): the nearest face.
        barycentric (`torch.Tensor` of shape `(N, 3)`): weights of that face's corners.
        depth (`torch.Tensor` of shape `(B, H, W)`): depth of the nearest face, `inf` where there is none.
    """

    pixel: torch.Tensor
    image: torch.Tensor
    face: torch.Tensor
    barycentric: torch.Tensor
    depth: torch.Tensor

    def interpolate(self, values: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """Interpolates values at vertices `(B, V, C)` to values at fragments `(N, C)`."""
        corners = faces[self.face] + (self.image * values.shape[1])[:, None]
        return (values.flatten(0, 1)[corners] * self.barycentric[..., None]).sum(1)


def rasterize(
    screen: torch.Tensor, faces: torch.Tensor, height: int, width: int, cull_backfaces: bool = True
) -> Fragments:
    """Rasterizes triangles.

    Args:
        screen (`torch.Tensor` of shape `(B, V, 3)`): x and y in pixels (the first pixel covers 0 to 1), and depth,
            growing away from the viewer.
        faces (`torch.LongTensor` of shape `(F, 3)`): counter-clockwise seen from outside, in a frame of x right, y
            down, z forward.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        cull_backfaces (`bool`): leave out faces that point away from the viewer.

    Returns:
        [`Fragments`].
    """
    batch, device = screen.shape[0], screen.device
    x, y, z = screen[:, faces].flatten(0, 1).unbind(-1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    left, right = _pixel_range(x, width)
    top, bottom = _pixel_range(y, height)
    drawn = (right > left) & (bottom > top) & ((area < 0) if cull_backfaces else (area.abs() > 1e-12))
    drawn = drawn.nonzero()[:, 0]
    x, y, z, left, top = x[drawn], y[drawn], z[drawn], left[drawn], top[drawn]
    columns = right[drawn] - left
    count = columns * (bottom[drawn] - top)

    # One entry for every pixel of every face's bounding box.
    box = torch.repeat_interleave(torch.arange(len(drawn), device=device), count)
    offset = torch.arange(len(box), device=device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    row = torch.div(offset, columns[box], rounding_mode="floor")
    px, py = left[box] + offset - row * columns[box], top[box] + row

    # Barycentric coordinates are planes a x + b y + c over the image.
    inverse = 1 / area[drawn]
    planes = []
    for i, j in ((1, 2), (2, 0)):
        slope_x = (y[:, i] - y[:, j]) * inverse
        slope_y = (x[:, j] - x[:, i]) * inverse
        constant = (x[:, i] * y[:, j] - x[:, j] * y[:, i]) * inverse
        planes.append(slope_x[box] * (px + 0.5) + slope_y[box] * (py + 0.5) + constant[box])
    first, second = planes
    inside = ((first >= 0) & (second >= 0) & (first + second <= 1)).nonzero()[:, 0]
    box, first, second, px, py = box[inside], first[inside], second[inside], px[inside], py[inside]
    third = 1 - first - second
    depth = first * z[box, 0] + second * z[box, 1] + third * z[box, 2]

    image = torch.div(drawn[box], len(faces), rounding_mode="floor")
    pixel = (image * height + py) * width + px
    nearest = torch.full((batch * height * width,), torch.inf, dtype=screen.dtype, device=device)
    nearest.scatter_reduce_(0, pixel, depth, "amin")
    winner = (depth == nearest[pixel]).nonzero()[:, 0]
    # Where two faces tie, the later one in `faces` is kept, on every device.
    source = torch.full((batch * height * width,), -1, dtype=torch.long, device=device)
    source.scatter_reduce_(0, pixel[winner], winner, "amax")
    covered = (source >= 0).nonzero()[:, 0]
    source = source[covered]
    return Fragments(
        pixel=covered,
        image=torch.div(covered, height * width, rounding_mode="floor"),
        face=drawn[box[source]] % len(faces),
        barycentric=torch.stack([first[source], second[source], third[source]], -1),
        depth=nearest.view(batch, height, width),
    )


def rasterize_exactly(screen: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> Fragments:
    """Rasterizes both sides of triangles in double precision, without cracks between neighbours.

    In single precision, what is behind shows through in some pixels of a large image. Arguments are those of
    [`rasterize`], and fragments are of the dtype and on the device of `screen`.
    """
    device = torch.device("cpu") if screen.device.type == "mps" else screen.device
    seen = rasterize(screen.to(device).double(), faces.to(device), height, width, cull_backfaces=False)
    return Fragments(
        pixel=seen.pixel.to(screen.device),
        image=seen.image.to(screen.device),
        face=seen.face.to(screen.device),
        barycentric=seen.barycentric.to(screen),
        depth=seen.depth.to(screen),
    )


def vertex_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Area-weighted unit normals `(B, V, 3)` of meshes `(B, V, 3)` that share their faces `(F, 3)`."""
    a, b, c = (vertices[:, faces[:, i]] for i in range(3))
    face_normals = torch.linalg.cross(b - a, c - a, dim=-1)
    normals = torch.zeros_like(vertices)
    for i in range(3):
        normals.index_add_(1, faces[:, i], face_normals)
    return F.normalize(normals, dim=-1)


def _pixel_range(coordinate: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and one-past-last pixel whose centre lies within a triangle's extent, `(F, 3)` -> two `(F,)`."""
    first = (coordinate.amin(-1) - 0.5).ceil().clamp(0, size).long()
    last = ((coordinate.amax(-1) - 0.5).floor() + 1).clamp(0, size).long()
    return first, last
