"""The scores of sampled hands themselves, without images: `evaluate_hands`, and what `evaluate` says of stage 1."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..data import HandRow, stack_hand_params
from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from ..studio import Scene
from .fidelity import Fidelity
from .metrics.estimates import Cases
from .metrics.gestures import finger_spread, score_hands
from .metrics.hand_checks import limit_violations, side_consistency
from .metrics.hand_facts import TextFacts, read_caption, read_claims
from .metrics.text_agreement import BY_GESTURE, score_texts
from .report import Evaluation, by_section, measured_versions
from .rows import check_samples, sample_generators

_BATCH_SIZE = 50
_SCENES = "gesture, visibility and finger_error"


class HandScores:
    """Scores hands against the rows that they were sampled for.

    Args:
        rows (`Sequence[HandRow]`): all rows.
        scenes (`Sequence[Scene]`, *optional*): of the rows, if they are the studio's.
        body_model ([`HandBodyModel`]): of all hands.
        cases ([`Cases`]): receives the scores, of sections `"stage_1"`, `"caption"` and `"fingers_by_gesture"`.
        samples (`int`): how many hands each row has in a batch, one after the other.
    """

    def __init__(
        self,
        rows: Sequence[HandRow],
        scenes: Sequence[Scene] | None,
        body_model: HandBodyModel,
        cases: Cases,
        samples: int,
    ):
        self.rows, self.scenes, self.body_model, self.cases, self.samples = rows, scenes, body_model, cases, samples
        self.hands = stack_hand_params(rows)
        self.facts = [
            _facts(row, scene) for row, scene in zip(rows, scenes or itertools.repeat(None, len(rows)), strict=True)
        ]

    def add(self, hands: HandParams, rows: torch.Tensor) -> None:
        """Scores the sampled hands `(N,)` of rows `(N,)`."""
        numbers = rows.tolist()
        scores = {
            "side_consistency": side_consistency(hands, [self.rows[row].text for row in numbers]),
            "limit_violations": limit_violations(hands),
        }
        if self.scenes is not None:
            scenes = [self.scenes[row] for row in numbers]
            scores |= score_hands(hands, scenes, self.hands.hand_visible[rows], self.body_model)
        for name, values in scores.items():
            self.cases.add(f"stage_1/{name}", rows, values)
        self._add_agreement(hands, rows, "")
        if self.samples > 1:
            self.cases.add("stage_1/diversity", rows[:: self.samples], finger_spread(hands, self.samples))

    def add_data(self) -> None:
        """Scores the rows' own hands against their captions: the best that hands can do by these rules."""
        for rows in torch.arange(len(self.rows)).split(_BATCH_SIZE):
            self._add_agreement(self.hands[rows], rows, "_of_data")

    def _add_agreement(self, hands: HandParams, rows: torch.Tensor, suffix: str) -> None:
        facts = [self.facts[row] for row in rows.tolist()]
        for name, values in score_texts(hands, facts, self.body_model).items():
            self.cases.add(agreement_name(name, "caption", suffix), rows, values)


def _facts(row: HandRow, scene: Scene | None) -> TextFacts:
    """What the text of a row says of hands: as the row has it, or as it can be read from a studio caption."""
    says = row.columns.get("says")
    return read_caption(row.text, scene) if says is None else read_claims(says)


def agreement_name(name: str, section: str, suffix: str = "") -> str:
    """`"section/metric"` of a score of `score_texts`: those by gesture have a section of their own."""
    if name.startswith(BY_GESTURE):
        return f"fingers_by_gesture{suffix}/{name.removeprefix(BY_GESTURE)}"
    return f"{section}{suffix}/{name}"


def evaluate_hands(
    pipe: Any,
    rows: Sequence[HandRow],
    samples: int = 2,
    seed: int = 0,
    batch_size: int = 50,
    body_model: HandBodyModel | None = None,
    progress: Callable[[int], None] | None = None,
    **arguments: Any,
) -> Evaluation:
    """Samples hands for the captions of rows and scores them; draws no images.

    Args:
        pipe: a pipeline with a stage 1; `None` to score the rows' own hands.
        rows (`Sequence[HandRow]`): of `read_rows`.
        samples (`int`): per caption; a caption counts once, with their mean.
        seed (`int`): sample `k` of row `i` draws from the seed `seed + i * samples + k`, as in `evaluate`.
        batch_size (`int`): captions at a time.
        body_model ([`HandBodyModel`], *optional*): the pipeline's by default, or else the procedural one.
        progress (callable, *optional*): called with the number of captions that are done.
        arguments: further arguments of `sample_hand_params`, such as `hand_guidance_scale`.

    Returns:
        [`Evaluation`] with the sections that `evaluate` gives of sampled hands.

    Raises:
        ValueError: there are no rows, `samples` or `batch_size` is below 1, or the pipeline has no stage 1.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one row.")
    samples = 1 if pipe is None else samples
    body = body_model or getattr(pipe, "body_model", None) or procedural_body()
    is_studio = all(row.columns.get("scene") for row in rows)
    scenes = [Scene(**row.columns["scene"]) for row in rows] if is_studio else None
    cases, fidelity = Cases(len(rows)), Fidelity(None, body)
    scores = HandScores(rows, scenes, body, cases, samples)
    texts = [row.text for row in rows]
    batches = own_hands(rows) if pipe is None else sampled_hands(pipe, texts, samples, seed, batch_size, **arguments)
    for hands, numbers in batches:
        scores.add(hands, numbers)
        fidelity.add_hands(hands, numbers)
        if progress is not None:
            progress(int(numbers[-1]) + 1)
    scores.add_data()
    estimates = cases.estimates(seed)
    distance = fidelity.parameter_distance(rows, 0, seed)
    if distance is not None:
        estimates["stage_1/parameter_fid"] = distance
    absent = {} if is_studio else {_SCENES: "the rows have no `scene`: they are not from the studio"}
    settings = {
        "rows": len(rows),
        "samples": samples,
        "seed": seed,
        "pipeline": None if pipe is None else type(pipe).__name__,
        "hands": "the rows' own" if pipe is None else "sampled, not drawn",
        "arguments": {name: value for name, value in arguments.items() if value is not None},
    }
    return Evaluation(
        by_section(estimates), absent, settings, measured_versions(), cases.to_dict(), fidelity.features()
    )


def sampled_hands(
    pipe: Any, texts: Sequence[str], samples: int, seed: int, batch_size: int, **arguments: Any
) -> Iterator[tuple[HandParams, torch.Tensor]]:
    """Hands that stage 1 samples for texts, batch by batch: N of them, and the number of the text of each, `(N,)`."""
    check_samples(samples)
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    if not hasattr(pipe, "sample_hand_params") or getattr(pipe, "text_to_hand_params", None) is None:
        raise ValueError(f"`pipe`: {type(pipe).__name__} has no stage 1 that samples hands.")
    for start in range(0, len(texts), batch_size):
        part = list(texts[start : start + batch_size])
        generators = sample_generators(seed, start, len(part), samples)
        hands = pipe.sample_hand_params(part, samples, hand_generator=generators, **arguments)
        yield hands.to("cpu"), torch.arange(start, start + len(part)).repeat_interleave(samples)


def own_hands(rows: Sequence[HandRow]) -> Iterator[tuple[HandParams, torch.Tensor]]:
    """The rows' own hands, in the same form."""
    for numbers in torch.arange(len(rows)).split(_BATCH_SIZE):
        yield stack_hand_params([rows[number] for number in numbers.tolist()]), numbers
