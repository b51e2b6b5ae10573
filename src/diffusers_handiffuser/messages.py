"""What an error of another library says, in the words of an error of ours."""

_MAX_LENGTH = 300


def reason_of(error: BaseException) -> str:
    """One line of at most 300 characters without a full stop; the error's name where it says nothing."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return (text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ...").rstrip(".") or text


def printable(text: str) -> str:
    """A text of a stranger in one line, with what a terminal would take for commands as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
