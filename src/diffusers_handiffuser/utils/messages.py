"""What messages are made of: texts and values from elsewhere, as one line of ours."""

_MAX_LENGTH = 300


def reason_of(error: BaseException) -> str:
    """What an error of another library says, as `one_line` without a full stop; its name where it says nothing."""
    text = one_line(str(error)) or type(error).__name__
    return text.rstrip(".") or text


def one_line(text: str) -> str:
    """At most 300 characters of it, in one line, as `printable`."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."


def printable(text: str) -> str:
    """A text of a stranger with escapes for line breaks and for what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def is_whole_text(text: str) -> bool:
    """Whether it can be printed and written; JSON can spell half of a surrogate pair, which cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
