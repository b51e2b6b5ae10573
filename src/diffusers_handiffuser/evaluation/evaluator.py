"""`evaluate`: everything that can be said of a pipeline's pictures and hands on a data set, every number with its n,
seed and 95 % bootstrap interval.

Rows are the unit: a caption counts once, with the mean of its samples and hands, and intervals are over captions.
What cannot be measured is absent from the report, with the reason. The paper gives no protocol that could be repeated;
this one is ours, and none of its numbers can stand beside the paper's.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from diffusers.utils import make_image_grid
from PIL import Image

from ..data import HandRow, stack_hand_params
from ..data.geometry import hand_joints_in_pixels
from ..detection.detector import HandDetector
from ..hands import HandBodyModel
from ..hands.body_model import procedural_body
from ..hands.skeleton import SIDES
from ..rendering.drawing import draw_skeleton
from ..studio import Scene, gesture_by_name
from ..studio.scenes import COLORS, SKIN_TONES
from .batches import (
    PictureBatch,
    check_pictures,
    drawn_batches,
    own_batches,
    reconstructed_batches,
    samples_hands,
    wants_condition,
)
from .judges.crops import MARGIN, hand_crops
from .judges.features import FeatureNetwork
from .judges.studio_judge import StudioFeatureNetwork, judge_hands, judge_pictures
from .metrics.cases import Cases
from .metrics.clip_score import ClipScorer
from .metrics.colors import named_in_caption, score_pictures
from .metrics.detection import extended_fingers, score_detections
from .metrics.distances import frechet_estimate, kernel_estimate
from .metrics.estimates import Estimate
from .metrics.gestures import finger_spread, score_hands
from .metrics.hand_checks import limit_violations, named_sides, parameter_features, side_consistency
from .report import Evaluation

_COLOR_SCORES = {"background": "background", "skin": "skin", "skin_within_one": "skin"}
_PACKAGES = ("diffusers_handiffuser", "torch", "diffusers", "transformers", "numpy")


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
    """Draws pictures for the captions of rows and measures them.

    Args:
        pipe: any text-to-image pipeline that diffusers loads, see `batches.drawn_batches`; None to measure the rows'
            own pictures, which are the ceiling.
        rows (`Sequence[HandRow]`): of `read_rows`. Those of the studio, with a `scene`, are also judged by colours,
            by gesture and by the studio judge.
        features ([`FeatureNetwork`], *optional*): for FID and KID; without it they are absent.
        detector (callable, *optional*): see [`HandDetector`].
        clip ([`ClipScorer`], *optional*): for CLIPScore.
        reference (`Sequence[HandRow]`, *optional*): whose pictures and hands the distances are taken to; `rows`.
        samples, seed, batch_size, given_hands, condition, size: see `batches.drawn_batches`.
        body_model ([`HandBodyModel`], *optional*): the pipeline's by default, or else the procedural one.
        grid_rows (`int`): how many rows the grid of pictures shows, from the first.
        progress (callable, *optional*): called with the number of captions that are done.
        autoencoder (`AutoencoderKL`, *optional*): with `pipe=None`, the rows' own pictures are measured as it gives
            them back: what a U-Net on its latents can reach.
        arguments: further arguments of the pipeline's call, such as `num_inference_steps` and `guidance_scale`.

    Returns:
        [`Evaluation`].
    """
    if not rows:
        raise ValueError("`rows` must hold at least one row.")
    if autoencoder is not None and pipe is not None:
        raise ValueError("`autoencoder` gives back the rows' own pictures and goes with `pipe=None` alone.")
    body = body_model or getattr(pipe, "body_model", None) or procedural_body()
    measures = _Measures(rows, body, features, detector, clip, samples if pipe is not None else 1, seed, grid_rows)
    batches: Iterator[PictureBatch]
    if autoencoder is not None:
        batches = reconstructed_batches(autoencoder, rows, batch_size, size)
    elif pipe is None:
        batches = own_batches(rows, batch_size, size)
    else:
        batches = drawn_batches(pipe, rows, samples, seed, batch_size, given_hands, condition, size, body, **arguments)
    measures.judges_hands = pipe is None or (samples_hands(pipe) and not given_hands)
    measures.has_hands = measures.judges_hands or hasattr(pipe, "sample_hand_params") or wants_condition(pipe)
    for batch in batches:
        measures.add(batch)
        if progress is not None:
            progress(int(batch.rows[-1]) + 1)
    result = measures.result(rows if reference is None else reference, reference is None)
    result.settings |= {
        "pipeline": None if pipe is None else type(pipe).__name__,
        "hands": "the rows' pictures" if pipe is None else "sampled" if measures.judges_hands else "the rows' own",
        "autoencoder": None if autoencoder is None else type(autoencoder).__name__,
        "given_hands": given_hands,
        "arguments": {name: value for name, value in arguments.items() if value is not None},
    }
    return result


class _Measures:
    """What has been measured so far."""

    def __init__(
        self,
        rows: Sequence[HandRow],
        body: HandBodyModel,
        features: FeatureNetwork | None,
        detector: HandDetector | None,
        clip: ClipScorer | None,
        samples: int,
        seed: int,
        grid_rows: int,
    ):
        self.rows, self.body, self.features, self.detector, self.clip = rows, body, features, detector, clip
        self.samples, self.seed, self.grid_rows = samples, seed, grid_rows
        self.judges_hands = self.has_hands = True
        self.cases = Cases(len(rows))
        self.hands = stack_hand_params(rows)
        self.named = [named_sides(row.text) for row in rows]
        studio = all(row.columns.get("scene") for row in rows)
        self.scenes = [Scene(**row.columns["scene"]) for row in rows] if studio else None
        self.told = [named_in_caption(row.text, scene) for row, scene in zip(rows, self.scenes or [], strict=studio)]
        self.fingers = self._wanted_fingers()
        self.judge = StudioFeatureNetwork.bundled() if studio else None
        self.size = 0
        self.found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {
            "pictures": [],
            "hands": [],
            "parameters": [],
        }
        self.tiles: list[Image.Image] = []

    def _wanted_fingers(self) -> torch.Tensor:
        """How many fingers of each hand `(R, 2)` should be extended: by the scene, else by the row's hands in 3D."""
        with torch.no_grad():
            joints = self.body(self.hands.to(self.body.device)).joints_3d.cpu()
        fingers = extended_fingers(joints).sum(-1)
        for row, scene in enumerate(self.scenes or ()):
            for side, name in scene.gestures.items():
                fingers[row, SIDES.index(side)] = len(gesture_by_name(name).extended)
        return fingers

    def add(self, batch: PictureBatch) -> None:
        height, width = batch.pictures.shape[1:3]
        self.size = min(height, width)
        joints = hand_joints_in_pixels(batch.hands, self.body, width, height)
        own = hand_joints_in_pixels(self.hands[batch.rows], self.body, width, height)
        drawn = batch.hands.hand_visible
        places = torch.where(drawn[..., None, None], joints, own)
        if self.features is not None:
            self._add_features(self.features, batch, joints)
        if self.detector is not None:
            self._detect(self.detector, batch, places, drawn)
        if self.clip is not None:
            texts = [self.rows[row].text for row in batch.rows.tolist()]
            self.cases.add("text/clip_score", batch.rows, self.clip(batch.pictures, texts))
        if self.scenes is not None:
            scenes = [self.scenes[row] for row in batch.rows.tolist()]
            colors = score_pictures(batch.pictures / 255, batch.hands, scenes, self.body)
            self._add_colors("colours", batch.rows, colors)
        if self.judge is not None and self.scenes is not None:
            self._judge(self.judge, batch, places)
            seen = judge_pictures(self.judge, _centre_square(batch.pictures))
            asked = {
                name: torch.tensor([list(table).index(getattr(self.scenes[row], name)) for row in batch.rows.tolist()])
                for name, table in (("background", COLORS), ("skin", SKIN_TONES))
            }
            judged = {name: (seen[name] == wanted).double() for name, wanted in asked.items()}
            self._add_colors("studio_judge", batch.rows, judged)
        if self.judges_hands:
            self._add_hands(batch)
        self._add_tiles(batch, joints)

    def _add_all(self, section: str, rows: torch.Tensor, scores: dict[str, torch.Tensor]) -> None:
        for name, values in scores.items():
            self.cases.add(f"{section}/{name}", rows, values)

    def _add_colors(self, section: str, rows: torch.Tensor, scores: dict[str, torch.Tensor]) -> None:
        """The scores, and those of backgrounds and skins once more for the captions that name them."""
        self._add_all(section, rows, scores)
        for name, values in scores.items():
            if name in _COLOR_SCORES:
                told = torch.tensor([self.told[row][_COLOR_SCORES[name]] for row in rows.tolist()])
                self.cases.add(f"{section}/{name}_named", rows, values.masked_fill(~told, torch.nan))

    def _add_features(self, features: FeatureNetwork, batch: PictureBatch, joints: torch.Tensor) -> None:
        self.found["pictures"].append((features(_centre_square(batch.pictures)), batch.rows))
        crops, places = hand_crops(batch.pictures, joints, batch.hands.hand_visible, features.crop_size)
        if len(crops):
            self.found["hands"].append((features(crops), batch.rows[places[:, 0]]))

    def _detect(self, detector: HandDetector, batch: PictureBatch, places: torch.Tensor, drawn: torch.Tensor) -> None:
        for number, row in enumerate(batch.rows.tolist()):
            scores = score_detections(
                list(detector(batch.pictures[number].numpy())),
                places[number],
                self.hands.hand_visible[row],
                self.fingers[row],
                drawn[number] & self.has_hands,
                self.named[row] is not None,
            )
            for name, values in scores.items():
                self.cases.add(f"detector/{name}", [row] * len(values), values)

    def _judge(self, judge: StudioFeatureNetwork, batch: PictureBatch, places: torch.Tensor) -> None:
        wanted = self.hands.hand_visible[batch.rows]
        crops, at = hand_crops(batch.pictures, places, wanted, judge.input_size)
        if not len(crops):
            return
        said, rows = judge_hands(judge, crops), batch.rows[at[:, 0]]
        told = torch.tensor([self.named[row] is not None for row in rows.tolist()])
        side_right = (said["side"] == at[:, 1]).double().masked_fill(~told, torch.nan)
        self.cases.add("studio_judge/handedness", rows, side_right)
        self.cases.add("studio_judge/finger_count", rows, (said["fingers"] == self.fingers[rows, at[:, 1]]).double())

    def _add_hands(self, batch: PictureBatch) -> None:
        texts = [self.rows[row].text for row in batch.rows.tolist()]
        checks = {
            "side_consistency": side_consistency(batch.hands, texts),
            "limit_violations": limit_violations(batch.hands),
        }
        if self.scenes is not None:
            scenes = [self.scenes[row] for row in batch.rows.tolist()]
            checks |= score_hands(batch.hands, scenes, self.hands.hand_visible[batch.rows], self.body)
        self._add_all("stage_1", batch.rows, checks)
        if self.samples > 1:
            spread = finger_spread(batch.hands, self.samples)
            self.cases.add("stage_1/diversity", batch.rows[:: self.samples], spread)
        vectors, places = parameter_features(batch.hands)
        self.found["parameters"].append((vectors, batch.rows[places]))

    def _add_tiles(self, batch: PictureBatch, joints: torch.Tensor) -> None:
        """A picture and the same with its hands' skeletons, for the first sample of the first rows."""
        height, width = batch.pictures.shape[1:3]
        scale = torch.tensor([width, height]) / min(width, height)
        for number in range(0, len(batch.rows), self.samples):
            if len(self.tiles) < 2 * self.grid_rows:
                picture = Image.fromarray(batch.pictures[number].numpy())
                square = (2 * joints[number] / torch.tensor([width, height]) - 1) * scale
                self.tiles += [picture, draw_skeleton(picture, square, batch.hands.hand_visible[number])]

    def result(self, reference: Sequence[HandRow], same_rows: bool) -> Evaluation:
        estimates = self.cases.estimates(self.seed)
        absent = self._absent()
        first_group = 0 if same_rows else len(self.rows)
        try:
            self._add_distances(estimates, reference, first_group)
        except _NoDistance as reason:
            absent["FID, KID"] = str(reason)
        sections: dict[str, dict[str, Estimate]] = {}
        for name, estimate in estimates.items():
            section, _, metric = name.partition("/")
            sections.setdefault(section, {})[metric] = estimate
        features = {name: _joined(parts) for name, parts in self.found.items() if parts}
        grid = None
        if self.tiles:
            columns = min(8, len(self.tiles))
            blank = Image.new("RGB", self.tiles[0].size)
            padded = self.tiles + [blank] * (-len(self.tiles) % columns)
            grid = make_image_grid(padded, len(padded) // columns, columns)
        settings = {
            "rows": len(self.rows),
            "reference_rows": len(reference),
            "samples": self.samples,
            "seed": self.seed,
            "picture_size": self.size,
            "features": None if self.features is None else self.features.name,
            "crop_margin": MARGIN,
            "crop_size": None if self.features is None else self.features.crop_size,
            "clip": None if self.clip is None else self.clip.name,
        }
        return Evaluation(sections, absent, settings, _versions(), self.cases.to_dict(), features, grid)

    def _absent(self) -> dict[str, str]:
        absent = {}
        if self.detector is None:
            absent["detector"] = "no detector was given"
        if self.clip is None:
            absent["CLIPScore"] = "no CLIP was given"
        if self.scenes is None:
            absent["colours, gestures, studio judge"] = "the rows have no `scene`: they are not the studio's"
        if not self.judges_hands:
            absent["stage 1"] = "no hands were sampled"
        elif self.samples == 1:
            absent["diversity of stage 1"] = "there is one sample of each caption"
        if self.detector is not None and not self.has_hands:
            absent["joint error"] = "the pipeline was given no hands to draw"
        return absent

    def _add_distances(self, estimates: dict[str, Estimate], reference: Sequence[HandRow], first_group: int) -> None:
        if self.found["parameters"]:
            vectors, places = parameter_features(stack_hand_params(reference))
            mine, groups = _joined(self.found["parameters"])
            if min(len(mine), len(vectors)) > 1:
                estimates["stage_1/parameter_fid"] = frechet_estimate(
                    mine, vectors, groups, places + first_group, self.seed
                )
        if self.features is None:
            raise _NoDistance("no feature network was given")
        try:
            check_pictures(reference)
        except ValueError as error:
            raise _NoDistance(str(error)) from error
        theirs = self._reference_features(self.features, reference)
        for name, suffix in (("pictures", ""), ("hands", "_hands")):
            if not self.found[name] or not theirs[name]:
                raise _NoDistance(f"there are no {name} to compare")
            (mine, groups), (other, places) = _joined(self.found[name]), _joined(theirs[name])
            if min(len(mine), len(other)) < 2:
                raise _NoDistance(f"there are less than two {name} to compare")
            sets = (mine, other, groups, places + first_group, self.seed)
            estimates[f"fidelity/fid{suffix}"] = frechet_estimate(*sets)
            estimates[f"fidelity/kid{suffix}"] = kernel_estimate(*sets)

    def _reference_features(
        self, features: FeatureNetwork, reference: Sequence[HandRow]
    ) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
        """Of the reference pictures, brought to the size of the drawn ones."""
        found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"pictures": [], "hands": []}
        for batch in own_batches(reference, 50, self.size):
            found["pictures"].append((features(batch.pictures), batch.rows))
            joints = hand_joints_in_pixels(batch.hands, self.body, self.size, self.size)
            crops, places = hand_crops(batch.pictures, joints, batch.hands.hand_visible, features.crop_size)
            if len(crops):
                found["hands"].append((features(crops), batch.rows[places[:, 0]]))
        return found


class _NoDistance(Exception):
    """Why FID and KID cannot be measured."""


def _joined(parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    values, rows = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(rows)


def _centre_square(pictures: torch.Tensor) -> torch.Tensor:
    """What the camera of `HandParams` spans, and the reference pictures show."""
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pictures[:, top : top + side, left : left + side]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
