"""What people call the named gestures."""

from .everyday_signs import EVERYDAY_SIGNS
from .special_signs import SPECIAL_SIGNS
from .wording import Wording

LEXICON: dict[str, Wording] = EVERYDAY_SIGNS | SPECIAL_SIGNS
"""Words by the name of the gesture. No wording stands for two gestures."""
