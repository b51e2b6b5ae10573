"""From scenes to images: poses, colours and renders batches of scenes."""

from collections.abc import Mapping, Sequence

import torch

from ..hands import HandBodyModel, HandParams
from ..rendering.rasterizer import Fragments
from .renderer import draw_background, render
from .scenes import COLORS, LIGHTS, SKIN_TONES, Scene, pose_scenes
from .skin import DressedMesh, SkinTexture, dress, hand_and_forearm_faces, skin_color


class Studio:
    """Renders scenes.

    Args:
        body_model ([`HandBodyModel`], *optional*): the body to render; by default the procedural one, which skin and
            clothes are designed for.
        size (`int`): pixels per side of an image.
    """

    def __init__(self, body_model: HandBodyModel | None = None, size: int = 128):
        check_size(size)
        self.body_model = HandBodyModel.procedural() if body_model is None else body_model
        self.size = size
        faces, rest = self.body_model.faces, self.body_model.template
        texture = SkinTexture.of_body(self.body_model, rest, faces)
        arms = hand_and_forearm_faces(self.body_model, faces)
        parts = {"left": arms["left"], "right": arms["right"], "both": torch.cat(list(arms.values()))}
        parts["person"] = faces[(rest[faces][..., 1] > -0.15).all(-1)]
        self._meshes = {name: DressedMesh(part, rest, texture, _index_in(part, faces)) for name, part in parts.items()}

    @torch.no_grad()
    def draw(self, scenes: Sequence[Scene], hand_params: HandParams | None = None) -> tuple[torch.Tensor, HandParams]:
        """Renders scenes.

        Args:
            scenes (sequence of [`Scene`]): `B` scenes of any kinds.
            hand_params ([`HandParams`], *optional*): `B` bodies and cameras that replace those of the scenes.

        Returns:
            `tuple`: images `(B, 3, size, size)` in `[0, 1]`, and their exact [`HandParams`] of batch shape `(B,)`.
        """
        hand_params = pose_scenes(scenes, self.body_model) if hand_params is None else hand_params
        device = self.body_model.device
        vertices = self.body_model.full_mesh(hand_params.to(device)).vertices
        images = torch.empty(len(scenes), 3, self.size, self.size)
        for i, scene in enumerate(scenes):
            if scene.kind == "empty":
                generator, color = torch.Generator().manual_seed(scene.seed), torch.tensor(COLORS[scene.background])
                images[i] = draw_background(color, scene.texture, self.size, generator)
        for part, mesh in self._meshes.items():
            rows = [i for i, scene in enumerate(scenes) if _part(scene) == part]
            if rows:
                chosen = [scenes[i] for i in rows]
                images[rows] = self.draw_mesh(mesh, chosen, vertices[rows], hand_params.camera[rows].to(device)).cpu()
        return images, hand_params

    def mesh_of(self, scene: Scene) -> DressedMesh:
        """The mesh that a scene shows; only of a scene that is not empty."""
        return self._meshes[_part(scene) or "person"]

    def draw_mesh(
        self,
        mesh: DressedMesh,
        scenes: Sequence[Scene],
        vertices: torch.Tensor,
        camera: torch.Tensor,
        shadows_of: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Renders one mesh per scene.

        Args:
            mesh ([`DressedMesh`]): the faces of all of them.
            scenes (sequence of [`Scene`]): `B` scenes, for colours, background and light.
            vertices (`torch.Tensor` of shape `(B, V, 3)`): metres, camera frame.
            camera (`torch.Tensor` of shape `(B, 3)`): as in `HandParams`.
            shadows_of (`tuple`, *optional*): as in [`render`].

        Returns:
            `torch.Tensor` of shape `(B, 3, size, size)` in `[0, 1]`.
        """
        device, generators = vertices.device, [torch.Generator().manual_seed(s.seed) for s in scenes]
        noise = torch.stack([torch.randn(8, generator=g) for g in generators])

        def colors(
            table: Mapping[str, Sequence[float]], names: list[str], spread: float, columns: slice
        ) -> torch.Tensor:
            return (torch.tensor([table[n] for n in names]) + spread * noise[:, columns]).clamp(0.02, 1).to(device)

        tone = colors(SKIN_TONES, [s.skin for s in scenes], 0.012, slice(0, 3))
        sleeve = colors(COLORS | {"bare": (0.5, 0.5, 0.5)}, [s.sleeve for s in scenes], 0.015, slice(3, 6))
        bare = torch.tensor([s.sleeve == "bare" for s in scenes], device=device)
        long_sleeve = 0.655 + 0.012 * noise[:, 6].clamp(-1.5, 1.5)
        short = torch.tensor([s.kind in ("person", "hands_hidden") for s in scenes]) & (noise[:, 7] > 0)
        sleeve_end = torch.where(short, torch.tensor(0.36), long_sleeve).to(device)
        paper = [
            draw_background(torch.tensor(COLORS[s.background]), s.texture, self.size, g)
            for s, g in zip(scenes, generators, strict=True)
        ]
        light = torch.tensor([LIGHTS[s.light] for s in scenes], device=device)

        def albedo(seen: Fragments) -> torch.Tensor:
            rest = (mesh.rest[mesh.faces[seen.face]] * seen.barycentric[..., None]).sum(1)
            skin = skin_color(mesh.texture(mesh.textured_as[seen.face], seen.barycentric), tone[seen.image])
            return dress(rest, skin, sleeve[seen.image], sleeve_end[seen.image], bare[seen.image])

        background = torch.stack(paper).to(device)
        return render(vertices, mesh.faces, camera, self.size, albedo, light, background, shadows_of=shadows_of)[0]


def check_size(size: int) -> None:
    """Refuses images that are too small to show a hand."""
    if size < 16:
        raise ValueError(f"`size` must be at least 16 pixels, got {size}.")


def _part(scene: Scene) -> str | None:
    """The name of the faces that a scene shows, if it shows any."""
    if scene.kind == "empty":
        return None
    if scene.kind in ("person", "hands_hidden"):
        return "person"
    return "both" if len(scene.gestures) == 2 else next(iter(scene.gestures))


def _index_in(part: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """The index of each face of a part among all faces."""
    numbers = {tuple(face): i for i, face in enumerate(faces.tolist())}
    return torch.tensor([numbers[tuple(face)] for face in part.tolist()], device=faces.device)
