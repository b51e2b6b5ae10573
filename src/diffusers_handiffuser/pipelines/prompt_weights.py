r"""Weights that are written into a caption, as web UIs for Stable Diffusion read them, and the caption without them.

    (words:1.3)         words, weighted by a number
    (words), ((words))  weighted more
    [words], [[words]]  weighted less
    \( \) \[ \]         the brackets themselves

What a caption merely has in common with this stays as it is: brackets that are not closed, or hold no letter or digit,
and square brackets with `:` or `|` in them, which change the words over the steps. What stands behind a colon is a
weight if there is a letter before it and it is a decimal fraction, or a whole number that neither a space nor a digit
keeps from being one: the words of "(fingers: 3)", "(at 10:30)" and "(format 16:9)" stay, without the brackets.
"""

import re

_TOKEN = re.compile(r"\\[()\[\]]|[()\[\]]|[^()\[\]\\]+|\\")
_CLOSED_BY = {")": "(", "]": "["}
_FRACTION = re.compile(r"\s*[+-]?\d*\.\d+\s*")
_WHOLE = re.compile(r"[+-]?\d+\s*")


def without_weights(caption: str) -> str:
    """The caption in plain words. One without weights is returned as it is.

    Args:
        caption (`str`): as the user wrote it.
    """
    pieces: list[str] = []
    opened: list[tuple[str, int]] = []
    for token in _TOKEN.findall(caption):
        if len(token) == 2 and token[0] == "\\":
            pieces.append(token[1])
        elif token in _CLOSED_BY and opened and opened[-1][0] == _CLOSED_BY[token]:
            bracket, start = opened.pop()
            inside = "".join(pieces[start + 1 :])
            pieces[start:] = [_words(bracket, inside) if _is_weighted(bracket, inside) else bracket + inside + token]
        else:
            if token in _CLOSED_BY.values():
                opened.append((token, len(pieces)))
            pieces.append(token)
    return "".join(pieces)


def _is_weighted(bracket: str, inside: str) -> bool:
    is_edit = bracket == "[" and (":" in inside or "|" in inside)
    return any(map(str.isalnum, inside)) and not is_edit


def _words(bracket: str, inside: str) -> str:
    words, colon, number = inside.rpartition(":")
    if bracket == "[" or not colon or not any(map(str.isalpha, words)):
        return inside
    is_whole = _WHOLE.fullmatch(number) and not words.rstrip()[-1].isdigit()
    return words if is_whole or _FRACTION.fullmatch(number) else inside
