"""Sentences from text files."""

from collections.abc import Iterable
from pathlib import Path


def read_sentences(files: Iterable[str]) -> list[str]:
    """The different lines of text files, without surrounding spaces; those with no letter or digit are left out.

    Raises:
        `ValueError`: a file that has no text, or is not UTF-8; the message names it.
    """
    sentences: dict[str, None] = {}
    for file in files:
        try:
            lines = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError as error:
            raise ValueError(f"`text`: {file} is not UTF-8 text ({error.reason} at byte {error.start})") from None
        found = [line for line in lines if any(character.isalnum() for character in line)]
        if not found:
            raise ValueError(f"`text`: {file} has no line with a letter or a digit")
        sentences.update(dict.fromkeys(found))
    return list(sentences)
