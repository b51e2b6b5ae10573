"""`evaluate`: all metrics of a pipeline on a data set, each with n, seed and 95 % bootstrap interval.

The unit is the row: a caption counts once, with the mean over its samples and hands, and intervals are over captions.
A metric that cannot be measured is absent from the report, which gives the reason. The paper does not describe its
protocol in enough detail to repeat it; this one is ours, and its numbers cannot be compared with the paper's.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..data import HandRow, stack_hand_params
from ..data.geometry import hand_joints_in_pixels
from ..detection.detector import HandDetector, detect_hands
from ..hands import HandBodyModel
from ..hands.body_model import procedural_body
from ..hands.skeleton import SIDES
from ..studio import Scene, gesture_by_name
from ..studio.scenes import COLORS, SKIN_TONES
from .batches import ImageBatch, drawn_batches, own_batches, reconstructed_batches, samples_hands, wants_condition
from .fidelity import Fidelity, NotMeasured, centre_square
from .grid import SkeletonGrid
from .hand_scores import HandScores
from .judges.crops import MARGIN, hand_crops
from .judges.features import FeatureNetwork
from .judges.studio_judge import StudioFeatureNetwork, judge_hands, judge_images
from .metrics.clip_score import ClipScorer
from .metrics.colors import named_in_caption, score_images
from .metrics.detection import extended_fingers, score_detections
from .metrics.estimates import Cases
from .metrics.hand_checks import named_sides
from .report import Evaluation, by_section, measured_versions

_COLOR_SCORES = {"background": "background", "skin": "skin", "skin_within_one": "skin"}
"""Colour scores, and the attribute that a caption has to name for the `_named` variant."""


def evaluate(
    pipe: Any,
    rows: Sequence[HandRow],
    features: FeatureNetwork | None = None,
    detector: HandDetector | None = None,
    clip: ClipScorer | None = None,
    reference: Sequence[HandRow] | None = None,
    samples: int = 2,
    seed: int = 0,
    batch_size: int = 20,
    given_hands: bool = False,
    condition: str = "openpose",
    size: int | None = None,
    body_model: HandBodyModel | None = None,
    grid_rows: int = 16,
    progress: Callable[[int], None] | None = None,
    autoencoder: Any = None,
    **arguments: Any,
) -> Evaluation:
    """Generates images for the captions of rows and scores them.

    Args:
        pipe (`DiffusionPipeline`, *optional*): any text-to-image pipeline that diffusers loads, see
            `batches.drawn_batches`; None to score the rows' own images, the upper bound.
        rows (`Sequence[HandRow]`): from `read_rows`. Studio rows, which have a `scene`, are also scored by colours, by
            gesture and by the studio judge.
        features ([`FeatureNetwork`], *optional*): for FID and KID; without it they are absent.
        detector (callable, *optional*): see [`HandDetector`].
        clip ([`ClipScorer`], *optional*): for CLIPScore.
        reference (`Sequence[HandRow]`, *optional*): reference set of FID and KID; `rows` by default.
        samples (`int`): images per caption.
        seed (`int`): sample `k` of row `i` uses the seed `seed + i * samples + k`.
        batch_size (`int`): captions per call.
        given_hands (`bool`): use the rows' own hands instead of sampled ones.
        condition (`str`): what a ControlNet or T2I-Adapter is given, see `HandParams.to_condition`.
        size (`int`, *optional*): pixels per side; the pipeline's own by default.
        body_model ([`HandBodyModel`], *optional*): the pipeline's by default, or else the procedural one.
        grid_rows (`int`): number of rows shown in the image grid, from the first.
        progress (callable, *optional*): called with the number of captions done so far.
        autoencoder (`AutoencoderKL`, *optional*): with `pipe=None`, score its reconstructions of the rows' own images:
            the upper bound for a U-Net on its latents.
        arguments: further arguments of the pipeline's call, such as `num_inference_steps` and `guidance_scale`.

    Returns:
        [`Evaluation`].

    Raises:
        ValueError: if there are no rows, or both `pipe` and `autoencoder` are given.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one row.")
    if autoencoder is not None and pipe is not None:
        raise ValueError("`autoencoder` reconstructs the rows' own images and needs `pipe=None`.")
    body = body_model or getattr(pipe, "body_model", None) or procedural_body()
    hands_sampled = pipe is None or (samples_hands(pipe) and not given_hands)
    hands_drawn = hands_sampled or hasattr(pipe, "sample_hand_params") or wants_condition(pipe)
    batches: Iterator[ImageBatch]
    if autoencoder is not None:
        batches = reconstructed_batches(autoencoder, rows, batch_size, size)
    elif pipe is None:
        batches = own_batches(rows, batch_size, size)
    else:
        batches = drawn_batches(pipe, rows, samples, seed, batch_size, given_hands, condition, size, body, **arguments)
    samples = samples if pipe is not None else 1
    evaluator = Evaluator(
        rows,
        body,
        features,
        detector,
        clip,
        samples,
        seed,
        grid_rows,
        hands_sampled=hands_sampled,
        hands_drawn=hands_drawn,
    )
    for batch in batches:
        evaluator.add(batch)
        if progress is not None:
            progress(int(batch.rows[-1]) + 1)
    result = evaluator.result(reference)
    result.settings |= {
        "pipeline": None if pipe is None else type(pipe).__name__,
        "hands": "the rows' images" if pipe is None else "sampled" if hands_sampled else "the rows' own",
        "autoencoder": None if autoencoder is None else type(autoencoder).__name__,
        "given_hands": given_hands,
        "arguments": {name: value for name, value in arguments.items() if value is not None},
    }
    return result


class Evaluator:
    """Scores images batch by batch.

    Args:
        rows (`Sequence[HandRow]`): all rows.
        body_model ([`HandBodyModel`]): poses all hands.
        features ([`FeatureNetwork`], *optional*): for FID and KID.
        detector (callable, *optional*): see [`HandDetector`].
        clip ([`ClipScorer`], *optional*): for CLIPScore.
        samples (`int`): images of each row in a batch.
        seed (`int`): of the bootstrap.
        grid_rows (`int`): number of rows shown in the image grid.
        hands_sampled (`bool`): whether the hands of a batch are scored themselves.
        hands_drawn (`bool`): whether the images were conditioned on the hands, so that their joints can be compared.
    """

    def __init__(
        self,
        rows: Sequence[HandRow],
        body_model: HandBodyModel,
        features: FeatureNetwork | None,
        detector: HandDetector | None,
        clip: ClipScorer | None,
        samples: int,
        seed: int,
        grid_rows: int,
        hands_sampled: bool,
        hands_drawn: bool,
    ):
        self.rows, self.body_model, self.detector, self.clip = rows, body_model, detector, clip
        self.samples, self.seed = samples, seed
        self.hands_sampled, self.hands_drawn = hands_sampled, hands_drawn
        self.cases = Cases(len(rows))
        self.fidelity = Fidelity(features, body_model)
        self.grid = SkeletonGrid(grid_rows, samples)
        self.size = 0
        self.hands = stack_hand_params(rows)
        self.named_sides = [named_sides(row.text) for row in rows]
        is_studio = all(row.columns.get("scene") for row in rows)
        self.scenes = [Scene(**row.columns["scene"]) for row in rows] if is_studio else None
        self.hand_scores = HandScores(rows, self.scenes, body_model, self.cases, samples)
        self.judge = StudioFeatureNetwork.bundled() if is_studio else None
        self.named_colors = [
            named_in_caption(row.text, scene) for row, scene in zip(rows, self.scenes or [], strict=is_studio)
        ]
        self.num_fingers = self._wanted_fingers()

    def _wanted_fingers(self) -> torch.Tensor:
        """How many fingers of each hand `(R, 2)` should be extended: by the scene, else by the row's 3D hands."""
        with torch.no_grad():
            joints = self.body_model(self.hands.to(self.body_model.device)).joints_3d.cpu()
        fingers = extended_fingers(joints).sum(-1)
        for row, scene in enumerate(self.scenes or ()):
            for side, name in scene.gestures.items():
                fingers[row, SIDES.index(side)] = len(gesture_by_name(name).extended)
        return fingers

    def add(self, batch: ImageBatch) -> None:
        """Scores the images of some rows, and their hands."""
        height, width = batch.images.shape[1:3]
        self.size = min(height, width)
        joints = hand_joints_in_pixels(batch.hands, self.body_model, width, height)
        row_joints = hand_joints_in_pixels(self.hands[batch.rows], self.body_model, width, height)
        drawn = batch.hands.hand_visible
        places = torch.where(drawn[..., None, None], joints, row_joints)
        texts = [self.rows[row].text for row in batch.rows.tolist()]
        self.fidelity.add_images(batch, joints)
        if self.detector is not None:
            self._add_detections(self.detector, batch, places, drawn)
        if self.clip is not None:
            self.cases.add("text/clip_score", batch.rows, self.clip(batch.images, texts))
        if self.scenes is not None and self.judge is not None:
            scenes = [self.scenes[row] for row in batch.rows.tolist()]
            colors = score_images(batch.images / 255, batch.hands, scenes, self.body_model)
            self._add_colors("colours", batch.rows, colors)
            self._add_judged_hands(self.judge, batch, places)
            self._add_colors("studio_judge", batch.rows, _judged_colors(self.judge, batch, scenes))
        if self.hands_sampled:
            self.hand_scores.add(batch.hands, batch.rows)
            self.fidelity.add_hands(batch.hands, batch.rows)
        self.grid.add(batch, joints)

    def _add_all(self, section: str, rows: torch.Tensor, scores: dict[str, torch.Tensor]) -> None:
        for name, values in scores.items():
            self.cases.add(f"{section}/{name}", rows, values)

    def _add_colors(self, section: str, rows: torch.Tensor, scores: dict[str, torch.Tensor]) -> None:
        """Adds scores; those of background and skin also as `_named`, over the captions that name them."""
        self._add_all(section, rows, scores)
        for name, values in scores.items():
            if name in _COLOR_SCORES:
                is_named = torch.tensor([self.named_colors[row][_COLOR_SCORES[name]] for row in rows.tolist()])
                self.cases.add(f"{section}/{name}_named", rows, values.masked_fill(~is_named, torch.nan))

    def _add_detections(
        self, detector: HandDetector, batch: ImageBatch, places: torch.Tensor, drawn: torch.Tensor
    ) -> None:
        for number, row in enumerate(batch.rows.tolist()):
            scores = score_detections(
                detect_hands(detector, batch.images[number].numpy()),
                places[number],
                self.hands.hand_visible[row],
                self.num_fingers[row],
                drawn[number] & self.hands_drawn,
                self.named_sides[row] is not None,
            )
            for name, values in scores.items():
                self.cases.add(f"detector/{name}", [row] * len(values), values)

    def _add_judged_hands(self, judge: StudioFeatureNetwork, batch: ImageBatch, places: torch.Tensor) -> None:
        wanted = self.hands.hand_visible[batch.rows]
        crops, at = hand_crops(batch.images, places, wanted, judge.input_size)
        if not len(crops):
            return
        judged, rows, sides = judge_hands(judge, crops), batch.rows[at[:, 0]], at[:, 1]
        is_named = torch.tensor([self.named_sides[row] is not None for row in rows.tolist()])
        handedness = (judged["side"] == sides).double().masked_fill(~is_named, torch.nan)
        self.cases.add("studio_judge/handedness", rows, handedness)
        self.cases.add(
            "studio_judge/finger_count", rows, (judged["fingers"] == self.num_fingers[rows, sides]).double()
        )

    def result(self, reference: Sequence[HandRow] | None = None) -> Evaluation:
        """All scores so far, and the distances to `reference`, by default to the rows themselves."""
        first_group = 0 if reference is None else len(self.rows)
        reference = self.rows if reference is None else reference
        if self.hands_sampled:
            self.hand_scores.add_data()
        estimates, absent = self.cases.estimates(self.seed), self._absent()
        distance = self.fidelity.parameter_distance(reference, first_group, self.seed)
        if distance is not None:
            estimates["stage_1/parameter_fid"] = distance
        try:
            for name, estimate in self.fidelity.image_distances(reference, first_group, self.size, self.seed):
                estimates[f"fidelity/{name}"] = estimate
        except NotMeasured as reason:
            absent["FID, KID"] = str(reason)
        features = self.fidelity.network
        settings = {
            "rows": len(self.rows),
            "reference_rows": len(reference),
            "samples": self.samples,
            "seed": self.seed,
            "picture_size": self.size,
            "features": None if features is None else features.name,
            "crop_margin": MARGIN,
            "crop_size": None if features is None else features.crop_size,
            "clip": None if self.clip is None else self.clip.name,
        }
        return Evaluation(
            by_section(estimates),
            absent,
            settings,
            measured_versions(),
            self.cases.to_dict(),
            self.fidelity.features(),
            self.grid.draw(),
        )

    def _absent(self) -> dict[str, str]:
        absent = {}
        if self.detector is None:
            absent["detector"] = "no detector was given"
        if self.clip is None:
            absent["CLIPScore"] = "no CLIP was given"
        if self.scenes is None:
            absent["colours, gestures, studio judge"] = "the rows have no `scene`: they are not from the studio"
        if not self.hands_sampled:
            absent["stage 1"] = "no hands were sampled"
        elif self.samples == 1:
            absent["diversity of stage 1"] = "there is one sample of each caption"
        if self.detector is not None and not self.hands_drawn:
            absent["joint error"] = "the pipeline was given no hands to draw"
        return absent


def _judged_colors(judge: StudioFeatureNetwork, batch: ImageBatch, scenes: Sequence[Scene]) -> dict[str, torch.Tensor]:
    """Whether the judge sees the background and the skin of each scene, `(N,)`."""
    judged = judge_images(judge, centre_square(batch.images))
    wanted = {
        name: torch.tensor([list(table).index(getattr(scene, name)) for scene in scenes])
        for name, table in (("background", COLORS), ("skin", SKIN_TONES))
    }
    return {name: (judged[name] == numbers).double() for name, numbers in wanted.items()}
