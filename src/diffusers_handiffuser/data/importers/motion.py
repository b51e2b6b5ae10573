"""Captioned motion capture for stage 1: AMASS sequences of SMPL-H poses, with captions such as HumanML3D's.

The file formats, according to the code that reads them (nghorbani/amass, EricGuo5513/HumanML3D
`raw_pose_processing.py`): an AMASS "SMPL+H G" file is an npz with `poses` (T, 156) axis-angle (root, 21 body joints,
15 left and 15 right finger joints, without a mean pose), `betas` (16), `gender`, `trans` (T, 3) and
`mocap_framerate`, in a world with z up. HumanML3D takes every `int(framerate / 20)`-th frame, drops the first seconds
of some subsets, cuts at the frames in its `index.csv`, and stores a text file per clip with one caption per line:
caption, `#`, tagged words, `#`, start, `#`, end in seconds, 0 and 0 for the whole clip. Clips whose names start with M
are mirrored copies; they are not needed because training mirrors rows itself (`--random_flip`).

Motion capture has no images, so we choose the camera: level, in front of the person at that frame (rotated by a random
angle if requested), framing the requested part of the body with a margin. Occlusion is unknown; a hand counts as
visible if all of its joints lie in the frame. Most subsets of AMASS tracked no fingers and store one hand pose for all
frames: such clips are refused by default.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...hands import HandBodyModel, HandParams
from ...hands.body_model import procedural_body
from ...hands.npz_file import read_npz
from ...hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ...hands.skeleton import JOINT_NAMES, NUM_JOINTS
from ...utils.messages import reason_of
from ..rows import write_row

FRAMINGS = {
    "hands": JOINT_NAMES[20:],
    "upper_body": tuple(
        name for name in JOINT_NAMES if not any(leg in name for leg in ("hip", "knee", "ankle", "foot"))
    ),
    "person": JOINT_NAMES,
}
_HUMANML3D_RATE = 20
_MAX_MOTION_BYTES = 2**30
_HUMANML3D_SKIPS = {  # seconds, by a part of the path
    "Eyes_Japan_Dataset": 3,
    "MPI_HDM05": 3,
    "TotalCapture": 1,
    "MPI_Limits": 1,
    "Transitions_mocap": 0.5,
}


@dataclass(frozen=True)
class Caption:
    """What a person does from `start` to `end`, seconds; `end` 0 means to the end."""

    text: str
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True, eq=False)
class Motion:
    """A sequence of poses.

    Args:
        poses (`np.ndarray` of shape `(T, 156)`): axis-angle of the 52 SMPL-H joints, radians; the root rotates into
            a world with z up.
        betas (`np.ndarray` of shape `(10,)`): shape coefficients of SMPL-H.
        frame_rate (`float`): frames per second.
        name (`str`): the origin of the sequence, for messages and rows.
    """

    poses: np.ndarray
    betas: np.ndarray
    frame_rate: float
    name: str = ""

    def __post_init__(self) -> None:
        if self.poses.ndim != 2 or self.poses.shape[1] != 3 * NUM_JOINTS or not len(self.poses):
            hint = "; this is SMPL-X, take the SMPL-H files" if self.poses.shape[-1:] == (165,) else ""
            raise ValueError(f"`poses` of {self.name} must have shape (T, 156), got {self.poses.shape}{hint}.")
        if self.betas.shape != (10,):
            raise ValueError(f"`betas` of {self.name} must have shape (10,), got {self.betas.shape}.")
        if not np.isfinite(self.poses).all() or not np.isfinite(self.betas).all():
            raise ValueError(f"`poses` and `betas` of {self.name} must be finite.")
        if not 0 < self.frame_rate < math.inf:
            raise ValueError(f"`frame_rate` of {self.name} must be positive, got {self.frame_rate}.")

    @property
    def fingers_move(self) -> bool:
        """Whether the hands have more than one pose."""
        return len(self.poses) > 1 and bool((np.ptp(self.poses[:, 66:], axis=0) > 1e-4).any())


def read_motion(path: str | Path) -> Motion:
    """Reads an AMASS npz without pickled objects. Raises a `ValueError` for damaged and other files."""
    rates = ("mocap_framerate", "mocap_frame_rate")
    try:
        arrays = read_npz(path, ("poses", "betas", *rates), _MAX_MOTION_BYTES, _MAX_MOTION_BYTES)
        missing = [name for name in ("poses", "betas") if name not in arrays]
        rate = next((name for name in rates if name in arrays), None)
        if missing or rate is None:
            raise ValueError(f"it is no AMASS sequence: it lacks {missing[0] if missing else rates[0]}")
        with np.errstate(over="ignore"):
            numbers = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        if numbers[rate].size != 1:
            raise ValueError(f"{rate!r} must be one number, got the shape {numbers[rate].shape}")
        return Motion(numbers["poses"], numbers["betas"].reshape(-1)[:10], numbers[rate].item(), str(path))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot read {path}: {reason_of(error)}.") from None


def read_humanml3d_captions(path: str | Path) -> list[Caption]:
    """Reads a HumanML3D text file; times are relative to the clip."""
    captions = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"Cannot read {path}: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text, _, start, end = line.strip().rsplit("#", 3)
            times = [0.0 if math.isnan(time) else time for time in (float(start), float(end))]
            if math.inf in map(abs, times):
                raise ValueError("a time is not finite")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: must be caption#words#start#end, got {line[:200]!r}") from error
        captions.append(Caption(text.strip(), *times))
    return captions


def humanml3d_clips(index: str | Path, texts: str | Path, amass: str | Path) -> Iterator[tuple[Motion, list[Caption]]]:
    """The clips of HumanML3D with their captions, from your copies of HumanML3D and AMASS.

    Args:
        index (path): HumanML3D's `index.csv` (`source_path, start_frame, end_frame, new_name`).
        texts (path): folder of its caption files.
        amass (path): folder of the AMASS subsets, which replaces `pose_data` in `source_path`.

    Clips of HumanAct12, which is not part of AMASS, and clips without captions are skipped.
    """
    with open(index, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        number = 0
        while True:
            number += 1
            try:
                row = next(reader, None)
                if row is None:
                    return
                clip = _read_clip(row, Path(texts), Path(amass))
            except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
                reason = f"it has no {error}" if isinstance(error, KeyError) else reason_of(error)
                raise ValueError(f"{index}, row {number}: {reason}.") from None
            if clip is not None:
                yield clip


def _read_clip(row: dict[str, str], texts: Path, amass: Path) -> tuple[Motion, list[Caption]] | None:
    captions_file = texts / (Path(row["new_name"]).stem + ".txt")
    if "humanact12" in row["source_path"] or not captions_file.is_file():
        return None
    parts = Path(row["source_path"]).parts
    parts = parts[parts.index("pose_data") + 1 :]
    if ".." in parts or not parts:
        raise ValueError(f"`source_path` must be inside `amass`, got {row['source_path']!r}")
    motion = read_motion(amass.joinpath(*parts).with_suffix(".npz"))
    every = max(1, int(motion.frame_rate / _HUMANML3D_RATE))
    skip = next((time for name, time in _HUMANML3D_SKIPS.items() if name in row["source_path"]), 0)
    poses = motion.poses[::every][int(skip * _HUMANML3D_RATE) :]
    poses = poses[int(row["start_frame"]) : int(row["end_frame"])]
    if not len(poses):
        return None
    clip = Motion(poses, motion.betas, _HUMANML3D_RATE, f"{motion.name} ({row['new_name']})")
    return clip, read_humanml3d_captions(captions_file)


def sample_motion(
    motion: Motion,
    captions: Sequence[Caption],
    frames_per_caption: int = 4,
    framing: str = "upper_body",
    margin: float = 0.15,
    max_turn: float = 0.0,
    seed: int = 0,
    allow_still_fingers: bool = False,
    body_model: HandBodyModel | None = None,
    source: str = "amass",
) -> list[dict[str, Any]]:
    """Samples captioned frames of a sequence as rows for stage 1.

    Args:
        motion ([`Motion`]): see `read_motion`.
        captions (sequence of [`Caption`]): the captions of the sequence.
        frames_per_caption (`int`): number of frames per caption, one drawn at random from each of as many equal parts
            of its time span.
        framing (`str`): `"hands"`, `"upper_body"` or `"person"`: the part of the body that the square frame contains.
        margin (`float`): space on each side, as a fraction of that part's extent.
        max_turn (`float`): largest random rotation of the camera about the person, degrees to either side.
        seed (`int`): seed of the frames and rotations.
        allow_still_fingers (`bool`): accept sequences whose fingers never move.
        body_model ([`HandBodyModel`], *optional*): the body to frame; by default the procedural one, which has shape
            coefficients of its own, so `betas` are set to zero.
        source (`str`): the `source` column of the rows.

    Returns:
        `list[dict]`: rows without images, for `write_dataset`. Raises a `ValueError` if the fingers never move.
    """
    if framing not in FRAMINGS:
        raise ValueError(f"`framing` must be one of {tuple(FRAMINGS)}, got {framing!r}.")
    if not motion.fingers_move and not allow_still_fingers:
        raise ValueError(f"the fingers of {motion.name} never move, so it is of no use for hands.")
    body_model = procedural_body() if body_model is None else body_model
    random = np.random.default_rng(seed)
    frames, texts = [], []
    for caption in captions:
        first = min(int(caption.start * motion.frame_rate), len(motion.poses) - 1)
        last = int(caption.end * motion.frame_rate) if caption.end > caption.start else len(motion.poses)
        edges = np.linspace(first, max(first + 1, min(last, len(motion.poses))), frames_per_caption + 1)
        drawn = random.uniform(edges[:-1], edges[1:]).astype(int)
        picked = set(np.minimum(drawn, len(motion.poses) - 1).tolist())
        frames += sorted(picked)
        texts += [caption.text] * len(picked)
    if not frames:
        return []
    turns = torch.from_numpy(random.uniform(-max_turn, max_turn, len(frames)).astype(np.float32))
    hands = _seen_from_the_front(motion, frames, torch.deg2rad(turns), body_model)
    hands = _framed(hands, framing, margin, body_model)
    origins = [f"{Path(motion.name).name}, frame {frame}" for frame in frames]
    return [
        write_row(row, text, source=source, origin=origin)
        for row, text, origin in zip(hands, texts, origins, strict=True)
    ]


def _seen_from_the_front(
    motion: Motion, frames: Sequence[int], turns: torch.Tensor, body_model: HandBodyModel
) -> HandParams:
    pose = torch.from_numpy(motion.poses[list(frames)]).unflatten(-1, (NUM_JOINTS, 3))
    root = rotvec_to_rotmat(pose[:, 0])
    forward = root[:, :2, 2]
    # Someone lying down faces up or down: take the direction of the head as the heading.
    lies = forward.norm(dim=-1, keepdim=True) < 0.1
    forward = torch.where(lies, root[:, :2, 1], forward)
    heading = torch.atan2(forward[:, 1], forward[:, 0]) + turns
    none = torch.zeros_like(heading)
    towards = torch.stack([-heading.cos(), -heading.sin(), none], -1)
    down = torch.tensor([0.0, 0.0, -1.0]).expand_as(towards)
    camera = torch.stack([torch.linalg.cross(down, towards, dim=-1), down, towards], -2)
    pose = torch.cat([rotmat_to_rotvec(camera @ root)[:, None], pose[:, 1:]], 1)
    licensed = body_model.config.body != "procedural"
    betas = torch.from_numpy(motion.betas if licensed else np.zeros(10, np.float32)).expand(len(pose), 10)
    unframed = torch.tensor([[1.0, 0.0, 0.0]]).expand(len(pose), 3)
    return HandParams.from_full_pose(pose, betas, unframed, torch.ones(len(pose), 2, dtype=torch.bool))


@torch.no_grad()
def _framed(hands: HandParams, framing: str, margin: float, body_model: HandBodyModel) -> HandParams:
    on_device = hands.to(body_model.device)
    body = body_model.full_mesh(on_device).joints[..., :2].cpu()
    fingers = body_model(on_device).joints_3d[..., :2].cpu()
    kept = [JOINT_NAMES.index(name) for name in FRAMINGS[framing]]
    points = torch.cat([body[:, kept], fingers.flatten(1, 2)], 1)
    low, high = points.amin(1), points.amax(1)
    scale = 2 / ((high - low).amax(-1, keepdim=True) * (1 + 2 * margin)).clamp_min(1e-3)
    camera = torch.cat([scale, -(low + high) / 2], -1)
    drawn = scale[:, None, None] * (fingers + camera[:, None, None, 1:])
    return hands.replace(camera=camera, hand_visible=(drawn.abs() <= 1).all(-1).all(-1))
