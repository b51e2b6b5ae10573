"""Deprecated functions and names, to be removed in the next release."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..hands import HandBodyModel, HandParams
from ..studio import Scene
from ..utils.images import open_image
from .judges.studio_judge import StudioFeatureNetwork, judge_images
from .metrics.colors import METRICS as COLOR_METRICS
from .metrics.colors import score_images
from .metrics.distances import frechet_estimate
from .metrics.estimates import Estimate, bootstrap_mean
from .metrics.gestures import finger_spread, score_hands
from .metrics.hand_checks import limit_violations, parameter_features, side_consistency
from .rows import check_samples, check_studio_rows, sample_generators, stack_hands

HAND_METRICS = ("visibility", "gesture", "finger_error", "side_consistency", "limit_violations")


def _warn(name: str, instead: str = "`evaluate`, which measures the same") -> None:
    warnings.warn(f"`{name}` is deprecated: use {instead}.", FutureWarning, stacklevel=3)


def judge_pictures(network: StudioFeatureNetwork, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """The old name of [`judge_images`]."""
    _warn("judge_pictures", "`judge_images`")
    return judge_images(network, pictures)


def score_pictures(
    pictures: torch.Tensor, hand_params: HandParams, scenes: Sequence[Scene], body_model: HandBodyModel | None = None
) -> dict[str, torch.Tensor]:
    """The old name of [`score_images`]."""
    _warn("score_pictures", "`score_images`")
    return score_images(pictures, hand_params, scenes, body_model)


def evaluate_text_to_hands(
    pipe: Any, rows: Sequence[dict], samples: int = 2, seed: int = 0, batch_size: int = 50
) -> dict[str, Estimate]:
    """Samples hands for the captions of studio rows and scores them.

    Args:
        pipe (`HanDiffuserPipeline`): stage 1 and the body model are used.
        rows (`Sequence[dict]`): of a studio data set: `text`, `scene` and `hand_visible`.
        samples (`int`): per caption; a caption counts once, with the mean of its samples.
        seed (`int`): sample `k` of row `i` uses the seed `seed + i * samples + k`.
        batch_size (`int`): captions at a time.

    Returns:
        `dict`: an [`Estimate`] for each of `HAND_METRICS` that is defined for any caption, `"parameter_fid"` (Fréchet
        distance of the visible hands' finger rotations to those of the rows), and `"diversity"`: degrees between the
        finger rotations of two samples of one caption, if there are two.
    """
    _warn("evaluate_text_to_hands")
    check_samples(samples)
    check_studio_rows(rows)
    scores: dict[str, list[torch.Tensor]] = {name: [] for name in (*HAND_METRICS, "diversity")}
    sampled = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        texts = [row["text"] for row in part]
        generators = sample_generators(seed, start, len(part), samples)
        hands = pipe.sample_hand_params(texts, samples, hand_generator=generators)
        scenes = [Scene(**row["scene"]) for row in part for _ in range(samples)]
        visible = torch.tensor([row["hand_visible"] for row in part for _ in range(samples)], dtype=torch.bool)
        found = score_hands(hands, scenes, visible, pipe.body_model)
        found["side_consistency"] = side_consistency(hands, [text for text in texts for _ in range(samples)])
        found["limit_violations"] = limit_violations(hands)
        for name, values in found.items():
            scores[name].append(values.view(len(part), samples).nanmean(1))
        if samples > 1:
            scores["diversity"].append(finger_spread(hands, samples))
        sampled.append(hands.to("cpu"))
    joined = {name: torch.cat(values) for name, values in scores.items() if values}
    defined = {name: values[~values.isnan()] for name, values in joined.items()}
    report = {name: bootstrap_mean(values) for name, values in defined.items() if len(values)}
    mine, theirs = parameter_features(HandParams.cat(sampled)), parameter_features(stack_hands(rows))
    if min(len(mine[0]), len(theirs[0])) > 1:
        report["parameter_fid"] = frechet_estimate(mine[0], theirs[0], mine[1] // samples, theirs[1])
    return report


def evaluate_text_to_pictures(
    pipe: Any,
    rows: Sequence[dict],
    samples: int = 2,
    seed: int = 0,
    batch_size: int = 20,
    given_hands: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Estimate]:
    """Generates images for the captions of studio rows and scores them.

    Args:
        pipe (`HanDiffuserPipeline`): both stages are used.
        rows (`Sequence[dict]`): of a studio data set: `text`, `scene` and the `HandParams` fields.
        samples (`int`): per caption; a caption counts once, with the mean of its samples.
        seed (`int`): sample `k` of row `i` uses the seed `seed + i * samples + k`.
        batch_size (`int`): captions at a time.
        given_hands (`bool`): use the rows' own hands instead of sampled ones.
        progress (callable, *optional*): called with the number of captions done so far.

    Returns:
        `dict`: an [`Estimate`] for each of `COLOR_METRICS`; captions for whose samples a metric is not defined
        are left out of it, as its `n` shows.
    """
    _warn("evaluate_text_to_pictures")
    check_samples(samples)
    check_studio_rows(rows)
    scores: dict[str, list[torch.Tensor]] = {name: [] for name in COLOR_METRICS}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        generators = sample_generators(seed, start, len(part), samples)
        hands = stack_hands(part) if given_hands else None
        out = pipe(
            [row["text"] for row in part],
            hand_params=hands,
            num_images_per_prompt=samples,
            generator=generators,
            output_type="pt",
        )
        scenes = [Scene(**row["scene"]) for row in part for _ in range(samples)]
        found = score_images(out.images.permute(0, 2, 3, 1), out.hand_params, scenes, pipe.body_model)
        for name, values in found.items():
            scores[name].append(values.view(len(part), samples).nanmean(1))
        if progress is not None:
            progress(start + len(part))
    return _estimates(scores)


def evaluate_own_pictures(folder: Path, rows: Sequence[dict], body_model: HandBodyModel) -> dict[str, Estimate]:
    """Scores the images of a studio data set itself: the upper bound.

    Args:
        folder (`Path`): of the data set.
        rows (`Sequence[dict]`): its rows, with `file_name`.
        body_model (`HandBodyModel`): the body they were drawn with.
    """
    _warn("evaluate_own_pictures")
    check_studio_rows(rows)
    images = [torch.from_numpy(np.array(open_image(Path(folder) / row["file_name"]))) for row in rows]
    scenes = [Scene(**row["scene"]) for row in rows]
    found = score_images(torch.stack(images) / 255, stack_hands(rows), scenes, body_model)
    return _estimates({name: [values] for name, values in found.items()})


def _estimates(scores: dict[str, list[torch.Tensor]]) -> dict[str, Estimate]:
    joined = {name: torch.cat(values) for name, values in scores.items()}
    return {name: bootstrap_mean(values[~values.isnan()]) for name, values in joined.items()}
