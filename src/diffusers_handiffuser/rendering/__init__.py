"""Everything that draws hands or writes their meshes."""

from .conditions import draw_condition
from .notebook import draw_rows, preview_html
from .viewer import HandView, hands_glb

__all__ = ["HandView", "draw_condition", "draw_rows", "hands_glb", "preview_html"]
