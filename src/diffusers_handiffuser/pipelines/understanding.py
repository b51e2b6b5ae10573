"""Which prompts stage 1 can read: whether language, words and length are those of its tokenizer.

HanDiffuser (arXiv 2403.01693) does not treat prompts that its text encoder does not know. Stage 1 samples hands for
them all the same, so a caller has to learn of it some other way. The rules below are ours, and look at the text alone.
"""

import re
import unicodedata
from typing import Any

from diffusers.utils import logging
from transformers import PreTrainedTokenizerBase

from ..models.text_models import text_length
from ..utils.typing import MixinBase
from .component_checks import require
from .hand_inputs import as_list
from .inputs import check_text
from .one_thread import SHARED_STATE_LOCK
from .prompt_weights import without_weights

logger = logging.get_logger(__name__)
_MOST_NAMED = 5
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MARKUP = re.compile(r"</?\w+[^<>]*>|[{}\\$=|^]|;\s*(?:\n|$)|\w\(\)|::|->")
_URL = re.compile(r"https?://\S+")
_MOST_MARKS = 1
_MAX_PIECES = 2
"""A word that falls into more pieces is not one of the tokenizer's."""
_MIN_KNOWN = 0.6
"""Share of a prompt's words that has to be known. Names and misspellings may be unknown."""
_MIN_LATIN = 0.8
_MIN_LETTERS = 0.6
"""Share of letters among all characters but spaces and common punctuation."""
_ENGLISH = frozenset(
    "a an the of in on at with and or his her their its is are to from for by as under over near".split()
)
_FOREIGN = frozenset(
    "der das und mit eine einen einer ein dem ist auf im von zeigt le la les des une et avec sur dans est qui du el "
    "los las una uno que y il lo gli di che sul nel della uma um com os da na het een op och ett av på som".split()
)
"""Short words of English, and of German, French, Spanish, Italian, Portuguese, Dutch and Swedish that it lacks."""
_PUNCTUATION = frozenset(" ,.!?'’\"“”:-–—()/&\n\t0123456789")


class UnderstandingMixin(MixinBase):
    """Gives `understands` to a pipeline with a stage 1."""

    def understands(self, prompt: str | list[str]) -> list[bool]:
        """Whether stage 1 can read each prompt: English of words that its text model knows, not too long.

        Hands of other prompts may be any; a call that samples them warns. Nothing is sampled here.

        Args:
            prompt (`str` or `list[str]`): B prompts.

        Returns:
            `list[bool]`: B values.
        """
        require(self, "reading prompts", "hand_tokenizer", "hand_text_encoder")
        check_text("prompt", prompt)
        length = text_length(self.hand_tokenizer, self.hand_text_encoder)
        return [reason_not_understood(text, self.hand_tokenizer, length) is None for text in as_list(prompt)]


def reason_not_understood(text: str, tokenizer: PreTrainedTokenizerBase, length: int) -> str | None:
    """Why stage 1 cannot read a prompt, to stand behind "it"; `None` if it can.

    Args:
        text (`str`): the prompt.
        tokenizer (`PreTrainedTokenizerBase`): `hand_tokenizer`.
        length (`int`): how many tokens are read.
    """
    text = without_weights(text).strip()
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return "has no words"
    if sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) < _MIN_LATIN * len(letters):
        return "is not written in Latin letters"
    counted = [character for character in text if character not in _PUNCTUATION]
    marks = len(_MARKUP.findall(text))
    if len(letters) < _MIN_LETTERS * len(counted) or marks > _MOST_MARKS or _URL.search(text):
        return "looks like code, markup or an address"
    words = _WORD.findall(text)
    foreign, english = (sum(word.lower() in short for word in words) for short in (_FOREIGN, _ENGLISH))
    if foreign > max(english, 1):
        return "is not in English"
    with SHARED_STATE_LOCK:
        unknown = [word for word in dict.fromkeys(words) if not _is_known(word, tokenizer)]
        num_tokens = len(tokenizer(text, truncation=True, max_length=length + 1).input_ids)
    if len(unknown) > (1 - _MIN_KNOWN) * len(set(words)):
        return f"has too many words that the text model does not know, such as {unknown[0]!r}"
    if num_tokens > length:
        return f"is longer than the {length} tokens that are read"
    return None


def warn_if_not_understood(prompts: list[str], tokenizer: PreTrainedTokenizerBase, text_encoder: Any) -> None:
    """One warning that names the prompts of a call that stage 1 cannot read, if there are any."""
    length = text_length(tokenizer, text_encoder)
    reasons = [reason_not_understood(text, tokenizer, length) for text in prompts]
    found = [f"prompt {row} {reason}" for row, reason in enumerate(reasons) if reason is not None]
    if found:
        more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        logger.warning(
            f"Stage 1 does not understand {len(found)} of {len(prompts)} prompts, so their hands may be any: "
            f"{'; '.join(found[:_MOST_NAMED])}{more}."
        )


def _is_known(word: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    pieces = tokenizer.tokenize(word)
    return 0 < len(pieces) <= _MAX_PIECES and tokenizer.unk_token not in pieces
