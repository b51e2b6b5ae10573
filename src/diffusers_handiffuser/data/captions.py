"""Captions of mirrored images."""

import re

_SIDES = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
_SIDE_WORD = re.compile(r"\b(leftmost|rightmost|left|right)\b", re.IGNORECASE)


def swap_sides(caption: str) -> str:
    """The caption of the mirrored image: swaps the words left and right, keeps their capitalisation."""

    def swapped(match: re.Match) -> str:
        word = match.group(0)
        other = _SIDES[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDE_WORD.sub(swapped, caption)
