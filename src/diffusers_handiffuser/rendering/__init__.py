"""Everything that draws hands or writes their meshes."""

from .viewer import HandView

__all__ = ["HandView"]
