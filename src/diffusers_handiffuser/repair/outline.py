"""Fingers along a hand's outline that the fitted mesh does not have.

The hand is segmented by its colours, learned in the image itself: those inside of the mesh's silhouette against those
around it. Where the two cannot be told apart, as before a face, nothing is said.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..hands.skeleton import OPENPOSE_FINGERS, OPENPOSE_HAND_NAMES

_BINS = 12
"""Per colour channel."""
_SEPARATED = 0.9
"""Share of the pixels inside, and of those around, that their colours must name rightly."""
_INNER, _MARGIN, _OUTER = 0.02, 0.045, 0.12
"""Of the view's side: how far inside of the silhouette the colours of the hand are taken, how far beyond it what still
counts as the mesh reaches, and how far out the colours around are taken."""
_TIP = 0.02
"""Of the view's side: the radius around a fingertip in which it must have the colours of the hand."""
_BEYOND = 0.06
"""Of the view's side: how far beyond a fingertip the hand must have ended."""
_LENGTH, _WIDTH = (0.5, 1.7), (0.45, 1.7)
"""Of the longest fitted finger: how long and how wide a further one is."""
_SLENDER = 1.3
"""Length per width of a further finger, at least."""


class Outline(NamedTuple):
    """What a hand's outline shows.

    Args:
        tips (`int`): how many of the fitted fingertips lie along the outline, 0 to 5: they have the colours of the
            hand, and what is beyond them has not. Those of folded fingers do not.
        further (`int`): slender pieces of the hand, of a finger's size, beyond the fitted mesh.
    """

    tips: int
    further: int


def trace_outline(image: torch.Tensor, mesh: torch.Tensor, joints: torch.Tensor) -> Outline | None:
    """Compares a hand's outline with its fitted mesh.

    Args:
        image (`torch.Tensor` of shape `(3, S, S)`, uint8): an upright view, in which the arm is below.
        mesh (`torch.Tensor` of shape `(3, S, S)`, uint8): the same view of the mesh, see `view_mesh`.
        joints (`torch.Tensor` of shape `(21, 2)`): of the fit, (x, y) in pixels of the view.

    Returns:
        [`Outline`], or None where the hand has the colours of what is around it.
    """
    size = image.shape[-1]
    silhouette = mesh[0] > 0
    margin, wrist = round(_MARGIN * size), float(joints[0, 1])
    covered = _grown(silhouette, margin)
    inside = ~_grown(~silhouette, round(_INNER * size))
    above = (torch.arange(size)[:, None] < wrist).expand(size, size)
    around = ~_grown(silhouette, round(_OUTER * size)) & above
    ratio = _log_ratio(image, inside, around)
    if ratio is None:
        return None
    skin = ratio > 0
    if min(float(skin[inside].float().mean()), 1 - float(skin[around].float().mean())) < _SEPARATED:
        return None
    near = max(1, round(_TIP * size))
    tips = 0
    for finger in OPENPOSE_FINGERS:
        end = OPENPOSE_HAND_NAMES.index(f"{finger}4")
        beyond = joints[end] + _BEYOND * size * F.normalize(joints[end] - joints[end - 1], dim=0)
        free = not (skin | silhouette)[_at(beyond, size)].any()
        tips += free and bool(_grown(_at(joints[end], size), near)[skin].any())
    length, width = _longest_finger(mesh, joints)
    loose = _opened(skin & ~silhouette, 1) & ~covered
    further = sum(_is_finger(piece, covered, length, width, wrist, margin) for piece in _pieces(loose))
    return Outline(tips, further)


def _log_ratio(image: torch.Tensor, inside: torch.Tensor, around: torch.Tensor) -> torch.Tensor | None:
    """`(S, S)`: log of how much likelier a pixel's colour is inside than around; None if there are too few of them."""
    if min(int(inside.sum()), int(around.sum())) < 50:
        return None
    bins = (image.long() * _BINS // 256).unbind(0)
    index = (bins[0] * _BINS + bins[1]) * _BINS + bins[2]
    densities = []
    for pixels in (inside, around):
        counts = torch.bincount(index[pixels], minlength=_BINS**3).float().view(1, 1, _BINS, _BINS, _BINS)
        smooth = F.avg_pool3d(counts, 3, 1, 1, count_include_pad=False) + 0.2 * counts
        densities.append((smooth / smooth.sum() + 1e-6).flatten()[index])
    return (densities[0] / densities[1]).log()


def _is_finger(
    piece: torch.Tensor, covered: torch.Tensor, length: float, width: float, wrist: float, margin: int
) -> bool:
    """Whether a piece `(S, S)` of the hand beyond the mesh is like a finger that grows out of it and ends."""
    size = len(piece)
    rows, columns = piece.nonzero().T
    if not len(rows) or float(rows.float().mean()) > wrist:
        return False
    at_edge = min(int(rows.min()), int(columns.min())) == 0 or max(int(rows.max()), int(columns.max())) == size - 1
    if at_edge or not bool((_grown(piece, 2) & covered).any()):
        return False
    points = torch.stack([columns, rows], -1).float()
    centred = points - points.mean(0)
    spread = torch.linalg.eigvalsh(centred.T @ centred / len(points))
    across, along = (12 * spread).clamp_min(1).sqrt().tolist()
    along += margin  # the piece begins where the mesh's margin ends
    fits = _LENGTH[0] * length <= along <= _LENGTH[1] * length and _WIDTH[0] * width <= across <= _WIDTH[1] * width
    return fits and along >= _SLENDER * across


def _longest_finger(mesh: torch.Tensor, joints: torch.Tensor) -> tuple[float, float]:
    """Length and mean width in the view, pixels."""
    lengths = (joints[6::4] - joints[5:-3:4]).norm(dim=-1)
    lengths = lengths + (joints[7::4] - joints[6::4]).norm(dim=-1) + (joints[8::4] - joints[7::4]).norm(dim=-1)
    longest = int(lengths.argmax())
    part = mesh[2] == 51 * (longest + 2)
    length = float(lengths[longest])
    return length, float(part.sum()) / max(length, 1.0)


def _pieces(mask: torch.Tensor) -> list[torch.Tensor]:
    """The connected pieces of a mask `(S, S)`, without specks."""
    pieces, left = [], mask.clone()
    while left.any():
        seed = torch.zeros_like(left)
        seed.view(-1)[int(left.flatten().int().argmax())] = True
        while True:
            grown = _grown(seed, 1) & left
            if torch.equal(grown, seed):
                break
            seed = grown
        left &= ~seed
        if int(seed.sum()) >= 12:
            pieces.append(seed)
    return pieces


def _opened(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return _grown(~_grown(~mask, pixels), pixels)


def _grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """A mask `(S, S)` dilated by a square of `2 pixels + 1`."""
    if pixels < 1:
        return mask
    return F.max_pool2d(mask[None, None].float(), 2 * pixels + 1, 1, pixels)[0, 0] > 0


def _at(point: torch.Tensor, size: int) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    x, y = point.long().clamp(0, size - 1).tolist()
    mask[y, x] = True
    return mask
