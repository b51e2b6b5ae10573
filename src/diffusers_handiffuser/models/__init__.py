"""The two networks: `TextToHandParamsModel` (text to hands) and `TextHandEncoder` (text and hands to states)."""

from .text_hand_encoder import TextHandEncoder, TextHandEncoderOutput
from .text_to_hand_params import TextToHandParamsModel, TextToHandParamsOutput

__all__ = ["TextHandEncoder", "TextHandEncoderOutput", "TextToHandParamsModel", "TextToHandParamsOutput"]
