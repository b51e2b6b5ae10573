"""English word forms: verbs, articles, and phrases whose verbs are marked with a tilde."""

import functools
import re

from .wording import words

_IRREGULAR = {
    # base: (participle in -ing, past, past participle)
    "bend": ("bending", "bent", "bent"),
    "bid": ("bidding", "bid", "bid"),
    "blow": ("blowing", "blew", "blown"),
    "bring": ("bringing", "brought", "brought"),
    "build": ("building", "built", "built"),
    "cast": ("casting", "cast", "cast"),
    "catch": ("catching", "caught", "caught"),
    "cut": ("cutting", "cut", "cut"),
    "do": ("doing", "did", "done"),
    "draw": ("drawing", "drew", "drawn"),
    "drink": ("drinking", "drank", "drunk"),
    "eat": ("eating", "ate", "eaten"),
    "feel": ("feeling", "felt", "felt"),
    "find": ("finding", "found", "found"),
    "forbid": ("forbidding", "forbade", "forbidden"),
    "get": ("getting", "got", "got"),
    "give": ("giving", "gave", "given"),
    "go": ("going", "went", "gone"),
    "hang": ("hanging", "hung", "hung"),
    "have": ("having", "had", "had"),
    "hide": ("hiding", "hid", "hidden"),
    "hold": ("holding", "held", "held"),
    "keep": ("keeping", "kept", "kept"),
    "lay": ("laying", "laid", "laid"),
    "leave": ("leaving", "left", "left"),
    "let": ("letting", "let", "let"),
    "lie": ("lying", "lied", "lied"),
    "make": ("making", "made", "made"),
    "mean": ("meaning", "meant", "meant"),
    "mimic": ("mimicking", "mimicked", "mimicked"),
    "put": ("putting", "put", "put"),
    "say": ("saying", "said", "said"),
    "send": ("sending", "sent", "sent"),
    "set": ("setting", "set", "set"),
    "shake": ("shaking", "shook", "shaken"),
    "shoot": ("shooting", "shot", "shot"),
    "show": ("showing", "showed", "shown"),
    "sit": ("sitting", "sat", "sat"),
    "sling": ("slinging", "slung", "slung"),
    "spin": ("spinning", "spun", "spun"),
    "split": ("splitting", "split", "split"),
    "spread": ("spreading", "spread", "spread"),
    "stand": ("standing", "stood", "stood"),
    "stick": ("sticking", "stuck", "stuck"),
    "strike": ("striking", "struck", "struck"),
    "swear": ("swearing", "swore", "sworn"),
    "swing": ("swinging", "swung", "swung"),
    "take": ("taking", "took", "taken"),
    "tell": ("telling", "told", "told"),
    "throw": ("throwing", "threw", "thrown"),
    "tie": ("tying", "tied", "tied"),
}
_DOUBLED = frozenset(
    words(
        "admit beg chop clap cup drum fan flag flip grab grip jab overlap pan pat pin plug rap rip rob rub shrug sip "
        "slap snap snip stop tap tip trim wag wrap"
    )
)


def inflect(verb: str, form: str) -> str:
    """One form of a verb.

    Args:
        verb (`str`): its base, one word.
        form (`str`): `"base"`, `"s"`, `"ing"`, `"ed"` (past) or `"en"` (past participle).
    """
    if form == "base":
        return verb
    if form == "s":
        if verb in ("do", "go") or verb.endswith(("s", "sh", "ch", "x", "z")):
            return verb + "es"
        if verb == "have":
            return "has"
        return verb[:-1] + "ies" if verb[-1] == "y" and verb[-2] not in "aeiou" else verb + "s"
    if verb in _IRREGULAR:
        return _IRREGULAR[verb][("ing", "ed", "en").index(form)]
    stem = verb + verb[-1] if verb in _DOUBLED else verb
    if form == "ing":
        return (stem[:-1] if stem.endswith("e") and not stem.endswith("ee") else stem) + "ing"
    if stem.endswith("e"):
        return stem + "d"
    return stem[:-1] + "ied" if stem[-1] == "y" and stem[-2] not in "aeiou" else stem + "ed"


@functools.lru_cache(maxsize=65536)
def conjugate(phrase: str, form: str) -> str:
    """A phrase with each verb behind a tilde put into a form.

    "~hold up two fingers" becomes "holds up two fingers"; the forms are those of [`inflect`].
    """
    return re.sub(r"~([\w-]+)", lambda match: inflect(match[1], form), phrase)


def with_article(words: str) -> str:
    """The words behind "a" or "an", by their sound."""
    sounds_like_a_vowel = words[0] in "aeiouAEIOU" and not words.startswith(("uni", "use", "eu", "one", "Eu", "Uni"))
    vowel = sounds_like_a_vowel or words.startswith(("hour", "honest", "8", "11-", "18-", "heir"))
    return f"{'an' if vowel else 'a'} {words}"


def without_article(words: str) -> str:
    """The words as a tag of a prompt says them."""
    return re.sub(r"^(an?|the) ", "", words)
