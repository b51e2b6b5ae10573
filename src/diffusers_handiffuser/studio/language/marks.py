"""Marks around the words that speak of hands, while a sentence is being put together."""

import re

_OPEN, _CLOSE = "\x02", "\x03"
_MARKED = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}")
_MARKS = re.compile(f"[{_OPEN}{_CLOSE}]")


def mark(words: str) -> str:
    """Marks words that say a gesture, a side, a view or a number of hands."""
    return f"{_OPEN}{words}{_CLOSE}"


def marked_parts(text: str) -> list[str]:
    """The marked words, without their marks."""
    return [part[1:-1] for part in _MARKED.findall(text)]


def extend_last_mark(text: str, words: str) -> str:
    """The text with more words at the end of its last marked part."""
    before, close, after = text.rpartition(_CLOSE)
    return before + words + close + after


def without_marks(text: str) -> str:
    """The text as it is read."""
    return _MARKS.sub("", text)


def frame_of(text: str) -> str:
    """The text without its marked words: each run of them a line, lower case, no punctuation."""
    words = re.sub(r"[^\w'-]+", " ", _MARKED.sub(" _ ", text).lower()).strip()
    return re.sub(r"\b_(?: _)+", "_", words)
