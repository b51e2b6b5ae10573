"""Third-party exceptions and texts as parts of one-line messages."""

_MAX_LENGTH = 300
INSTALL = "pip install . (in a clone of diffusers_handiffuser)"
"""How to install this package, which is not published yet; `install_extra` says it of an extra."""


def install_extra(extra: str) -> str:
    """How to install one of this package's extras, in the words of `INSTALL`."""
    return INSTALL.replace("install .", f'install ".[{extra}]"')


def reason_of(error: BaseException) -> str:
    """The message of another library's error, as `one_line` without a full stop; its class name if it has none."""
    text = one_line(str(error)) or type(error).__name__
    return text.rstrip(".") or text


def one_line_of(error: BaseException) -> str:
    """The whole message of an error in one line, printable; its class name if it has none."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def one_line(text: str) -> str:
    """The text in one line, as `printable`, cut off after 300 characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."


def printable(text: str) -> str:
    """A stranger's text with line breaks and terminal control characters escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def is_whole_text(text: str) -> bool:
    """Whether the text can be encoded: JSON can spell half of a surrogate pair, which UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
