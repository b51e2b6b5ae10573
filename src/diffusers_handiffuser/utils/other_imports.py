"""Objects of two imports of this package in one process.

Notebooks that delete modules from `sys.modules`, or reload them, create two classes of one name. The usual message,
`wanted a TextHandEncoder, got TextHandEncoder`, would be of no help.
"""

_PACKAGE = __name__.partition(".")[0]


def refuse_other_import(name: str, value: object, wanted: type) -> None:
    """Raises a `TypeError` that says what to do with a value whose class is the one wanted, of another import."""
    if isinstance(value, wanted):
        return
    if any(base.__name__ == wanted.__name__ and is_ours(base) for base in type(value).__mro__):
        raise TypeError(
            f"`{name}` is a {wanted.__name__} of another import of {_PACKAGE} in this process; load or make it again, "
            "or restart the process."
        )


def is_ours(cls: object) -> bool:
    """Whether a class is of this package, of whichever import."""
    return getattr(cls, "__module__", "").partition(".")[0] == _PACKAGE
