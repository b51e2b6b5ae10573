"""Drawing of hands and writing of their meshes.

`HandView` is public; the functions are called by the convenience methods of `HandParams`.
"""

from .conditions import draw_condition as draw_condition
from .notebook import draw_rows as draw_rows
from .notebook import preview_html as preview_html
from .viewer import HandView
from .viewer import hands_glb as hands_glb

__all__ = ["HandView"]
