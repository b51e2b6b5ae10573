"""Sentences as people write them, with what they say about hands, and `evaluate_sentences`, which stage 1 is held to.

The bundled ones were written by hand, for this measurement alone: no model may be trained on them, nor on sentences
that share their wording, which [`five_grams_shared`] finds.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..hands.body_model import procedural_body
from ..hands.skeleton import SIDES
from ..studio import gesture_by_name
from .hand_scores import agreement_name, sampled_hands
from .metrics.estimates import Cases
from .metrics.hand_directions import TURNS, VIEWS
from .metrics.hand_facts import EITHER, HandFacts, TextFacts
from .metrics.text_agreement import SeenHands, score_seen
from .report import Evaluation, by_section, measured_versions

NATURAL_SENTENCES = Path(__file__).parent / "data" / "natural_sentences.jsonl"
"""A line of JSON for each sentence: `text`; `gestures`, lists of the names accepted under `"left"` and `"right"`, or
`"either"` where the sentence names no side; `view`, `turn` and `hands` (how many), null where it does not say; and
`none`, true where there is no hand to be seen. `turn` may be an object with one for each side. Two hands that do the
same stand under `"either"`, with `hands` 2."""

_SECTION = "sentences"
_WORST = 20
"""How many of the worst sentences with hands a report lists, and of those without."""
_JUDGED = ("fingers", "turn", "view", "side", "number", "no_hands", "some_hands")
"""The scores that decide which sentences are worst."""
_COMMON_TEXT = """
a an the this that these those its it's his her hers their our my your he she it they we you i us them him who
whose which what and or but nor so as if than then of in on at to from by with without for over under up down out
off into onto near next behind above below between through across is are was were be been being am has have had do
does did can could will would shall should may might must not no only just all both each every one two three four
five other others another some any more most very too there here where when while how
hand hands finger fingers thumb thumbs palm palms back side left right fist index middle ring little pinky person
man woman view seen facing showing shows camera viewer photo close closeup background skin
"""
_COMMON_WORDS = frozenset(_COMMON_TEXT.split())


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it says.

    Args:
        text (`str`): the sentence.
        facts ([`TextFacts`]): what it says about the hands in its image.
    """

    text: str
    facts: TextFacts


@dataclass
class SentenceEvaluation(Evaluation):
    """The result of [`evaluate_sentences`].

    Args:
        worst (`list` of `dict`): the sentences that were understood least, worst first: `text`, its `scores`, and what
            each sample `came` to.
    """

    worst: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As [`Evaluation.to_dict`], with the worst sentences."""
        return super().to_dict() | {"worst": self.worst}

    def to_markdown(self) -> str:
        """A table of all numbers, and below it the worst sentences."""
        lines = ["", "| sentence | wrong | what came |", "| --- | --- | --- |"]
        for row in self.worst:
            wrong = ", ".join(f"{name} {value:.2f}" for name, value in row["scores"].items() if value < 1)
            came = " / ".join(dict.fromkeys(row["came"]))
            lines.append(f"| {row['text'].replace('|', chr(92) + '|')} | {wrong} | {came} |")
        return super().to_markdown() + "\n".join(lines) + "\n"


def read_sentences(path: str | Path = NATURAL_SENTENCES) -> list[Sentence]:
    """Reads sentences, by default the bundled ones.

    Raises:
        ValueError: a line is not as `NATURAL_SENTENCES` describes; the message names file and line.
    """
    sentences = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            sentences.append(_parse_sentence(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: not a sentence with its facts ({error!r}).") from error
    return sentences


def _parse_sentence(row: Mapping[str, Any]) -> Sentence:
    if not isinstance(row["text"], str):
        raise ValueError(f"`text` must be a string, got {row['text']!r}")
    if row["none"]:
        return Sentence(row["text"], TextFacts(number=0))
    turns = row["turn"] if isinstance(row["turn"], dict) else dict.fromkeys(row["gestures"], row["turn"])
    for name, values, known in (("view", [row["view"]], VIEWS), ("turn", turns.values(), TURNS)):
        if set(values) - {*known, None}:
            raise ValueError(f"`{name}` must be one of {known} or null")
    hands = {}
    for side, names in row["gestures"].items():
        for name in names:
            gesture_by_name(name)
        hands[side] = HandFacts(tuple(names), row["view"], turns.get(side))
    if row["hands"] == 2 and EITHER in hands:
        hands = dict.fromkeys(SIDES, hands[EITHER])
    return Sentence(row["text"], TextFacts(hands, row["hands"]))


def evaluate_sentences(
    pipe: Any,
    sentences: Sequence[Sentence] | None = None,
    samples: int = 4,
    seed: int = 0,
    batch_size: int = 50,
    progress: Callable[[int], None] | None = None,
    **arguments: Any,
) -> SentenceEvaluation:
    """Samples hands for sentences and scores what came against what they say; draws no images.

    Args:
        pipe: a pipeline with a stage 1.
        sentences (`Sequence[Sentence]`, *optional*): the bundled ones by default.
        samples (`int`): per sentence; a sentence counts once, with their mean.
        seed (`int`): sample `k` of sentence `i` draws from the seed `seed + i * samples + k`.
        batch_size (`int`): sentences at a time.
        progress (callable, *optional*): called with the number of sentences that are done.
        arguments: further arguments of `sample_hand_params`, such as `hand_guidance_scale`.

    Returns:
        [`SentenceEvaluation`] with the sections `"sentences"` and `"fingers_by_gesture"`.

    Raises:
        ValueError: there are no sentences, `samples` or `batch_size` is below 1, or the pipeline has no stage 1.
    """
    sentences = read_sentences() if sentences is None else sentences
    if not sentences:
        raise ValueError("`sentences` must hold at least one sentence.")
    body = getattr(pipe, "body_model", None) or procedural_body()
    cases = Cases(len(sentences))
    came: list[list[str]] = [[] for _ in sentences]
    texts = [sentence.text for sentence in sentences]
    for hands, numbers in sampled_hands(pipe, texts, samples, seed, batch_size, **arguments):
        seen = SeenHands(hands, body)
        for place, number in enumerate(numbers.tolist()):
            came[number].append(seen.describe(place))
        facts = [sentences[number].facts for number in numbers.tolist()]
        for name, values in score_seen(seen, facts).items():
            cases.add(agreement_name(name, _SECTION), numbers, values)
        if progress is not None:
            progress(int(numbers[-1]) + 1)
    settings = {
        "sentences": len(sentences),
        "samples": samples,
        "seed": seed,
        "pipeline": type(pipe).__name__,
        "hands": "sampled, not drawn",
        "arguments": {name: value for name, value in arguments.items() if value is not None},
    }
    estimates = by_section(cases.estimates(seed))
    return SentenceEvaluation(
        estimates, {}, settings, measured_versions(), cases.to_dict(), worst=_worst(sentences, cases, came)
    )


def _worst(sentences: Sequence[Sentence], cases: Cases, came: Sequence[list[str]]) -> list[dict[str, Any]]:
    """Sentences that are not understood, by the mean of their judged scores: some with hands, some without."""
    by_row = cases.to_dict()
    with_hands: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    for number, sentence in enumerate(sentences):
        values = {name: by_row.get(f"{_SECTION}/{name}", [None] * len(sentences))[number] for name in _JUDGED}
        scores = {name: value for name, value in values.items() if value is not None}
        if scores and min(scores.values()) < 1:
            row = {"text": sentence.text, "scores": scores, "came": came[number]}
            (without if sentence.facts.number == 0 else with_hands).append(row)
    worst = [row for rows in (with_hands, without) for row in sorted(rows, key=_mean_score)[:_WORST]]
    return sorted(worst, key=_mean_score)


def _mean_score(row: Mapping[str, Any]) -> float:
    scores = row["scores"].values()
    return sum(scores) / len(scores)


def five_grams_shared(sentences: Iterable[str], others: Iterable[str]) -> list[tuple[str, str, str]]:
    """The runs of five words that two sets of texts share, but for those that any two texts about hands may.

    A run counts if at least two of its words are neither function words nor words such as "left" and "palm", which
    no text about hands goes without. Case and punctuation do not count.

    Returns:
        `list` of `tuple`: the five words, the first of `sentences` that has them, and the first of `others`.
    """
    ours: dict[tuple[str, ...], str] = {}
    for text in sentences:
        for words in _five_grams(text):
            ours.setdefault(words, text)
    shared: dict[tuple[str, ...], str] = {}
    for text in others:
        for words in _five_grams(text):
            if words in ours:
                shared.setdefault(words, text)
    return [(" ".join(words), ours[words], other) for words, other in shared.items()]


def _five_grams(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())
    for start in range(len(words) - 4):
        run = tuple(words[start : start + 5])
        if sum(word not in _COMMON_WORDS for word in run) >= 2:
            yield run
