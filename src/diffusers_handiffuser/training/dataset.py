"""What the trainers read: see `diffusers_handiffuser.data`, where it lives."""

from ..data.captions import swap_sides
from ..data.dataset import HandDataset, cached_array
from ..data.sources import METADATA_NAME

__all__ = ["METADATA_NAME", "HandDataset", "cached_array", "swap_sides"]
