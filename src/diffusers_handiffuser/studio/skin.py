"""Colours of the procedural body: skin with nails, creases and palms, a face, hair, clothes.

They are functions of the position on the body at rest, so they move with the body.
"""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch

from ..hands import HandBodyModel
from ..hands.skeleton import FINGERS, FINGERTIP_VERTEX_IDS, JOINT_NAMES, SIDES
from ..rendering.rasterizer import vertex_normals
from .gestures import LONG_FINGERS
from .scenes import SKIN_TONES

NUM_MASKS = 5
"""Palm, blush, crease, nail, edge of nail."""
_GRID = 8
FINGER_RADII = {
    "index": (0.0104, 0.0091, 0.0081, 0.0064),
    "middle": (0.0106, 0.0094, 0.0083, 0.0066),
    "ring": (0.0100, 0.0088, 0.0078, 0.0062),
    "pinky": (0.0089, 0.0076, 0.0068, 0.0054),
    "thumb": (0.0150, 0.0118, 0.0108, 0.0078),
}
"""Radii of the procedural hand's fingers, metres: knuckle, middle joint, end joint, tip."""
# Lines of the palm, (distal, towards the thumb) from the wrist, metres.
_PALM_LINES = (
    ((0.074, 0.026), (0.062, 0.010), (0.045, 0.002), (0.022, 0.001), (0.010, 0.004)),
    ((0.070, 0.030), (0.063, 0.010), (0.055, -0.012), (0.050, -0.030)),
    ((0.083, 0.012), (0.078, -0.004), (0.070, -0.020), (0.066, -0.042)),
)


class SkinTexture:
    """Masks of palm, blush, crease, nail and nail edge on an 8 x 8 grid in every face.

    Args:
        rest_vertices (`torch.Tensor` of shape `(V, 3)`): T-pose, metres, body frame.
        rest_normals (`torch.Tensor` of shape `(V, 3)`): unit.
        faces (`torch.LongTensor` of shape `(F, 3)`): vertex indices.
        rest_joints (`torch.Tensor` of shape `(52, 3)`): metres.
        fingertips (`torch.Tensor` of shape `(5, 3)`): of the left hand, thumb to pinky, metres.
    """

    def __init__(
        self,
        rest_vertices: torch.Tensor,
        rest_normals: torch.Tensor,
        faces: torch.Tensor,
        rest_joints: torch.Tensor,
        fingertips: torch.Tensor,
    ):
        steps = (torch.arange(_GRID) + 0.5) / _GRID
        u, v = torch.meshgrid(steps, steps, indexing="ij")
        outside = u + v > 1
        u, v = torch.where(outside, 1 - v, u), torch.where(outside, 1 - u, v)
        corners = torch.stack([u, v, 1 - u - v], -1).view(-1, 3)
        points = torch.einsum("kc,fcd->fkd", corners, rest_vertices[faces]).reshape(-1, 3)
        normals = torch.einsum("kc,fcd->fkd", corners, rest_normals[faces]).reshape(-1, 3)
        masks = torch.zeros(len(points), NUM_MASKS)
        hand = points[:, 0].abs() > rest_joints[JOINT_NAMES.index("left_wrist"), 0] - 0.03
        masks[hand] = _hand_masks(points[hand], normals[hand], rest_joints, fingertips)
        self.masks = masks.view(len(faces), _GRID * _GRID, NUM_MASKS)

    def __call__(self, face: torch.Tensor, barycentric: torch.Tensor) -> torch.Tensor:
        """`(N, 5)` masks at fragments."""
        cell = (barycentric[:, :2] * _GRID).long().clamp(0, _GRID - 1)
        return self.masks[face, cell[:, 0] * _GRID + cell[:, 1]]

    @classmethod
    def of_body(
        cls, body_model: HandBodyModel, rest: torch.Tensor, faces: torch.Tensor, chosen: torch.Tensor | None = None
    ) -> "SkinTexture":
        """The texture of a mesh, or of some of its faces.

        Args:
            body_model ([`HandBodyModel`]): the body whose joints and fingertips the texture is designed for.
            rest (`torch.Tensor` of shape `(V, 3)`): vertices in the body's rest pose, metres.
            faces (`torch.LongTensor` of shape `(F, 3)`): vertex indices.
            chosen (`torch.LongTensor` of shape `(N,)`, *optional*): the faces, by default all.
        """
        tips = body_model.template[list(FINGERTIP_VERTEX_IDS["left"])]
        normals = vertex_normals(rest[None], faces)[0]
        faces = faces if chosen is None else faces[chosen]
        texture = cls(rest.cpu(), normals.cpu(), faces.cpu(), body_model.joint_template.cpu(), tips.cpu())
        return texture.to(rest.device)

    def extended(self, other: "SkinTexture") -> "SkinTexture":
        """This texture, followed by the faces of another one."""
        extended = copy.copy(self)
        extended.masks = torch.cat([self.masks, other.masks])
        return extended

    def to(self, device: torch.device | str) -> "SkinTexture":
        """Moves the masks to a device, in place."""
        self.masks = self.masks.to(device)
        return self


@dataclass(frozen=True, eq=False)
class DressedMesh:
    """The faces of bodies that share them, and where their colours come from.

    Args:
        faces (`torch.LongTensor` of shape `(F, 3)`): vertex indices.
        rest (`torch.Tensor` of shape `(V, 3)`): the vertices of the mean body at rest, metres, for clothes and face.
        texture ([`SkinTexture`]): of the skin.
        textured_as (`torch.LongTensor` of shape `(F,)`): the index of each face in the texture.
    """

    faces: torch.Tensor
    rest: torch.Tensor
    texture: SkinTexture
    textured_as: torch.Tensor


def skin_color(masks: torch.Tensor, tone: torch.Tensor) -> torch.Tensor:
    """`(N, 3)` colours from `(N, 5)` masks and `(N, 3)` tones.

    Palms have little of the pigment that distinguishes tones: all are blended towards one pink, dark skin the most.
    """
    palm, blush, crease, nail, edge = masks.split(1, -1)
    color = tone + 0.45 * palm * (tone.new_tensor([0.95, 0.70, 0.60]) - tone)
    color = color + 0.10 * blush * tone.new_tensor([0.55, -0.45, -0.40]) * tone.mean(-1, keepdim=True)
    color = color * (1 - 0.30 * crease)
    nail_color = tone + 0.55 * (tone.new_tensor([0.96, 0.80, 0.76]) - tone)
    return ((color + nail * (nail_color - color)) * (1 - 0.22 * edge)).clamp(0, 1)


def skin_tones(palm: torch.Tensor) -> torch.Tensor:
    """The colours `(..., 8, 3)` of `SKIN_TONES` for fractions of palm `(...)` in `[0, 1]` among the visible skin."""
    tones = torch.tensor(list(SKIN_TONES.values()))
    masks = torch.nn.functional.pad(palm.flatten()[:, None], (0, NUM_MASKS - 1)).repeat_interleave(len(tones), 0)
    colors = skin_color(masks, tones.repeat(palm.numel(), 1))
    return colors.view(*palm.shape, *tones.shape)


def dress(
    rest: torch.Tensor, skin: torch.Tensor, sleeve: torch.Tensor, sleeve_end: torch.Tensor, bare: torch.Tensor
) -> torch.Tensor:
    """Clothes, hair and a face over skin.

    Args:
        rest (`torch.Tensor` of shape `(N, 3)`): positions of the fragments on the body at rest, metres.
        skin (`torch.Tensor` of shape `(N, 3)`): colours of the skin.
        sleeve (`torch.Tensor` of shape `(N, 3)`): colours of the sleeves.
        sleeve_end (`torch.Tensor` of shape `(N,)`): end of the sleeve along the arm, metres from the body's centre.
        bare (`torch.Tensor` of shape `(N,)`, `bool`): whether the arm has no sleeve.

    Returns:
        `torch.Tensor` of shape `(N, 3)`: colours.
    """
    x, y = rest[:, 0].abs(), rest[:, 1]
    color = _face(rest, skin)
    neckline = (y > 0.462 - 0.35 * (0.10 - x).clamp_min(0)) & (x < 0.105)
    shirt = (y > -0.02) & (y < 0.53) & (x < sleeve_end) & ~neckline & ~bare
    color = torch.where(shirt[:, None], sleeve, color)
    # A hem of darker cloth shows where a sleeve ends.
    hem = shirt & (x > sleeve_end - 0.008) & (x > 0.25)
    color = torch.where(hem[:, None], sleeve * 0.72, color)
    trousers = (y <= -0.02) & (x < 0.4)
    return torch.where(trousers[:, None], color.new_tensor([0.20, 0.24, 0.33]), color)


def _face(rest: torch.Tensor, skin: torch.Tensor) -> torch.Tensor:
    x, y, z = rest[:, 0].abs(), rest[:, 1], rest[:, 2]
    head = y > 0.56
    hairline = 0.740 - 1.2 * (x - 0.035).clamp_min(0) + 0.06 * x
    hair = head & ((y > hairline) | ((z < -0.005) & (y > 0.60)) | ((z < 0.02) & (y > 0.70)))
    white = ((x - 0.032) / 0.0125).square() + ((y - 0.690) / 0.0065).square() < 1
    iris = (x - 0.032).square() + (y - 0.690).square() < 0.0052**2
    brow = ((x - 0.033).abs() < 0.017) & ((y - 0.7085 + 0.12 * (x - 0.033)).abs() < 0.0028)
    mouth = (x < 0.021) & ((y - 0.612 - 9.0 * x * x).abs() < 0.0036)
    front = head & (z > 0.03)
    color = skin
    for mask, paint in (
        (front & white, (0.93, 0.93, 0.92)),
        (front & iris, (0.10, 0.07, 0.06)),
        (front & brow, (0.13, 0.09, 0.07)),
    ):
        color = torch.where(mask[:, None], color.new_tensor(paint), color)
    color = torch.where((front & mouth)[:, None], skin * skin.new_tensor([0.78, 0.48, 0.48]), color)
    return torch.where(hair[:, None], color.new_tensor([0.13, 0.09, 0.07]), color)


def _hand_masks(
    points: torch.Tensor, normals: torch.Tensor, rest_joints: torch.Tensor, fingertips: torch.Tensor
) -> torch.Tensor:
    mirrored = points[:, :1] < 0
    flip = points.new_tensor([-1.0, 1.0, 1.0])
    points = torch.where(mirrored, points * flip, points)
    normals = torch.where(mirrored, normals * flip, normals)
    wrist = rest_joints[JOINT_NAMES.index("left_wrist")]
    local = points - wrist
    palm = _smoothstep(0.15, 0.75, -normals[:, 1]) * _smoothstep(-0.02, 0.01, local[:, 0])
    blush, crease, nail, edge = (torch.zeros(len(points)) for _ in range(4))
    for finger in FINGERS:
        first = JOINT_NAMES.index(f"left_{finger}1")
        tip = fingertips[("thumb", *LONG_FINGERS).index(finger)]
        bones = torch.stack([*rest_joints[first : first + 3], tip]) - wrist
        radius = FINGER_RADII[finger]
        along = _unit(bones[3] - bones[2])
        pad = points.new_tensor([0.30, -0.62, -0.72] if finger == "thumb" else [0.0, -1.0, 0.0])
        pad = _unit(pad - (pad @ along) * along)
        for k in range(3):
            distance = (local - bones[k]).norm(dim=-1)
            if not (finger == "thumb" and k == 0):
                blush = torch.maximum(blush, torch.exp(-((distance / (1.3 * radius[k])) ** 2)) * (1 - palm))
            if k:
                height = (local - bones[k]) @ _unit(bones[k + 1] - bones[k - 1])
                line = torch.exp(-((height / 0.0012) ** 2)) * (distance < 1.6 * radius[k]) * palm
                crease = torch.maximum(crease, 0.8 * line)
        tip_glow = torch.exp(-(((local - bones[3]).norm(dim=-1) / (1.6 * radius[3])) ** 2))
        blush = torch.maximum(blush, 0.8 * tip_glow)
        offset = local - bones[2]
        lengthwise = offset @ along / (bones[3] - bones[2]).norm()
        sideways = offset @ torch.linalg.cross(along, pad) / radius[3]
        oval = (((lengthwise - 0.74) / 0.27).abs() ** 4 + (sideways / 0.80).abs() ** 4) ** 0.25
        back = (offset @ pad < 0) & (lengthwise > 0)
        nail = torch.maximum(nail, (1 - _smoothstep(0.90, 1.0, oval)) * back)
        rim = _smoothstep(0.85, 0.97, oval) * (1 - _smoothstep(1.0, 1.15, oval))
        edge = torch.maximum(edge, rim * back)
    for line in _PALM_LINES:
        distance = _distance_to_polyline(local[:, [0, 2]], torch.tensor(line))
        mark = torch.exp(-((distance / 0.0012) ** 2)) * palm * (local[:, 0] < 0.095)
        crease = torch.maximum(crease, 0.6 * mark)
    return torch.stack([palm, blush, crease, nail, edge], -1)


def _distance_to_polyline(points: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
    best = torch.full((len(points),), torch.inf)
    for a, b in pairwise(line):
        t = (((points - a) @ (b - a)) / ((b - a) @ (b - a))).clamp(0, 1)
        best = torch.minimum(best, (points - a - t[:, None] * (b - a)).norm(dim=-1))
    return best


def _smoothstep(low: float, high: float, value: torch.Tensor) -> torch.Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vector, dim=-1)


def hand_and_forearm_faces(body_model: HandBodyModel, faces: torch.Tensor) -> dict[str, torch.Tensor]:
    """Faces whose corners follow the elbow, the wrist or a finger of one side, which close-ups render."""
    weights = body_model.template.new_zeros(len(body_model.template), len(JOINT_NAMES))
    weights.scatter_add_(1, body_model.influences.long(), body_model.influence_weights)
    result = {}
    for side in SIDES:
        first = JOINT_NAMES.index(f"{side}_index1")
        columns = [JOINT_NAMES.index(f"{side}_{name}") for name in ("elbow", "wrist")] + list(range(first, first + 15))
        mine = weights[:, columns].sum(-1) > 0.5
        result[side] = faces[mine[faces].all(-1)]
    return result
