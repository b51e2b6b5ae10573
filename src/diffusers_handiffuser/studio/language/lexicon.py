"""What people call the named gestures."""

from ..gestures import GESTURES
from .counting_signs import COUNTING_SIGNS
from .everyday_signs import EVERYDAY_SIGNS
from .hand_shapes import HAND_SHAPES
from .special_signs import SPECIAL_SIGNS
from .wording import Wording

_FAMILIES = EVERYDAY_SIGNS | COUNTING_SIGNS | SPECIAL_SIGNS | HAND_SHAPES
LEXICON: dict[str, Wording] = {name: _FAMILIES[name] for name in GESTURES}
"""Words by the name of the gesture. No wording stands for two gestures."""
