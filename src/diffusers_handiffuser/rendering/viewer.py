"""An interactive view of hand meshes: one HTML page with the mesh (glTF) and a small WebGL viewer.

The page fetches nothing, so it works offline, in a notebook and as a file.
"""

import base64
import functools
import html
import os
from pathlib import Path

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.params import HandParams
from ..utils.atomic_files import atomic_write
from .mesh_export import export_glb, meshes_of_one_row


def hands_glb(
    hand_params: HandParams, path: str | os.PathLike | None = None, body_model: HandBodyModel | None = None
) -> bytes:
    """See `HandParams.to_glb`. The scene is empty where no hand is visible."""
    body_model = procedural_body() if body_model is None else body_model
    return export_glb(meshes_of_one_row(hand_params, body_model), path)


class HandView:
    """A mesh to rotate with the mouse, displayed as the last expression of a notebook cell.

    Args:
        glb (`bytes`): binary glTF, such as `HandParams.to_glb` makes.
        height (`int`): of the view in a notebook, pixels.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandView

        >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
        >>> hands = pipe.sample_hand_params("a right hand making a peace sign")
        >>> hands[0].view_3d().save("hands.html")
        >>> view = HandView(hands[0].to_glb("hands.glb"), height=600)
        ```
    """

    def __init__(self, glb: bytes, height: int = 400):
        self.glb = glb
        self.height = height

    @property
    def html(self) -> str:
        """The HTML page."""
        return _page().replace("@GLB@", base64.b64encode(self.glb).decode())

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the page to a file that any browser opens."""
        path = Path(path)
        with atomic_write(path) as temporary:
            temporary.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{self.height}" style="border:0"></iframe>'


@functools.cache
def _page() -> str:
    """The viewer, with the placeholder `@GLB@` for the mesh."""
    return Path(__file__).with_name("viewer.html").read_text(encoding="utf-8")
