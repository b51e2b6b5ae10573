"""What a lexicon's entry is: nouns, deeds, shapes and situations that stand for one gesture."""

from dataclasses import dataclass

_MAKE = ("make", "show", "do")


@dataclass(frozen=True)
class Wording:
    """The words for a gesture.

    Args:
        nouns (`tuple` of `(verbs, str)`): names with their article, and the verbs that go with them: make, "a fist".
        verbs (`tuple` of `str`): deeds of a person. A tilde marks what is conjugated; `{his}` is the possessive; the
            side goes to `{hand}`, or else behind the deed. A final `!` says that the occasion is part of the deed.
        shapes (`tuple` of `str`): what the fingers do, to stand behind "a hand with" or between commas.
        roles (`tuple` of `(str, str)`): a person and the deed that goes with them.
        doubles (`tuple` of `str`): deeds that both hands do together.
    """

    nouns: tuple[tuple[tuple[str, ...], str], ...]
    verbs: tuple[str, ...]
    shapes: tuple[str, ...]
    roles: tuple[tuple[str, str], ...] = ()
    doubles: tuple[str, ...] = ()

    def phrases(self) -> list[str]:
        """All wordings of one hand, each once."""
        return [noun for _, noun in self.nouns] + [*self.verbs, *self.shapes] + [deed for _, deed in self.roles]


def _noun(entry: str) -> tuple[tuple[str, ...], str]:
    verbs, _, noun = entry.rpartition(">")
    return (tuple(verbs.split("/")) if verbs else _MAKE), noun


def _role(entry: str) -> tuple[str, str]:
    who, _, deed = entry.partition(": ")
    return who, deed


def entries(words: str) -> tuple[str, ...]:
    """A list with bars between its entries."""
    return tuple(words.split("|")) if words else ()


def words(text: str) -> tuple[str, ...]:
    """A list with spaces between its entries."""
    return tuple(text.split())


def wording(nouns: str, verbs: str, shapes: str, roles: str = "", doubles: str = "") -> Wording:
    """A [`Wording`] from lists with bars between their entries.

    "give/offer>a wave" names a noun with its own verbs, and "a diver: ~signal okay" a role.
    """
    return Wording(
        nouns=tuple(map(_noun, entries(nouns))),
        verbs=entries(verbs),
        shapes=entries(shapes),
        roles=tuple(map(_role, entries(roles))),
        doubles=entries(doubles),
    )
