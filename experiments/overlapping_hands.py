"""Makes a studio test set in which one hand is before the other, which the studio's own scenes never show.

Held-out scenes of two raised hands are drawn, then both forearms are turned inwards about the elbow until the boxes
around the hands share enough (see `subsets.py`), and one of them towards the viewer, so that the hands do not run
through each other. Hands keep their orientation: the wrists turn back by as much.
"""

import json
import math
import random
from pathlib import Path

import torch
from PIL import Image
from subsets import SHARED_BOX, shared_box
from tqdm.auto import tqdm

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES, SIDES
from diffusers_handiffuser.studio import Scene, Studio, describe, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

FORWARD = 24.0
"""Degrees by which the nearer forearm leans towards the viewer: about 10 cm at the hand."""
INWARD = tuple(range(0, 61, 2))
"""Degrees that are tried, the least that is enough is taken."""
_BATCH = 16


def bring_together(hands: HandParams, nearer: list[str], body_model: HandBodyModel) -> tuple[HandParams, torch.Tensor]:
    """The hands of N rows before one another, the camera on them, and in which rows that came out, `(N,)` bool.

    Args:
        hands (`HandParams` of batch shape `(N,)`): both hands raised side by side.
        nearer (`list[str]`): the side that is to be nearer to the viewer.
        body_model ([`HandBodyModel`]): the body.
    """
    forward = torch.tensor([[FORWARD * (side == name) for name in SIDES] for side in nearer])
    found, done = hands, torch.zeros(len(hands), dtype=torch.bool)
    for inward in INWARD:
        moved = _lean(hands, float(inward), forward)
        geometry = body_model(moved)
        points = geometry.joints_3d[..., :2].flatten(1, 2)
        centre = (points.amin(1) + points.amax(1)) / 2
        moved = moved.replace(camera=torch.cat([moved.camera[:, :1], -centre], 1))
        enough = shared_box(body_model(moved).joints_2d) >= SHARED_BOX
        chosen = enough & ~done
        fields = {
            name: torch.where(chosen[:, None], getattr(moved, name), getattr(found, name))
            for name in HandParams.FIELDS
        }
        found, done = HandParams(**fields), done | enough
    return found, done


def _lean(hands: HandParams, inward: float, forward: torch.Tensor) -> HandParams:
    """Turns forearms, in degrees, `forward (N, 2)` [left, right]; shoulders and hands keep their orientation."""
    pose = hands.full_pose.clone()
    for side, name in enumerate(SIDES):
        shoulder, elbow, wrist = (JOINT_NAMES.index(f"{name}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
        across = math.radians(inward) * (1 if name == "left" else -1)
        turn = torch.zeros(len(pose), 3)
        turn[:, 2] = across
        turn = rotvec_to_rotmat(turn)
        lean = torch.zeros(len(pose), 3)
        lean[:, 0] = torch.deg2rad(forward[:, side])
        turn = turn @ rotvec_to_rotmat(lean)
        upper = rotvec_to_rotmat(pose[:, shoulder])
        forearm = upper @ rotvec_to_rotmat(pose[:, elbow])
        hand = forearm @ rotvec_to_rotmat(pose[:, wrist])
        turned = turn @ forearm
        pose[:, elbow] = rotmat_to_rotvec(upper.mT @ turned)
        pose[:, wrist] = rotmat_to_rotvec(turned.mT @ hand)
    return HandParams.from_full_pose(pose, hands.betas, hands.camera, hands.hand_visible)


def make_overlapping_hands(folder: Path, num: int, size: int, seed: int = 0) -> None:
    """Writes `num` rows with images of `size` pixels a side, as `studio.make_dataset` writes its own."""
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    if (folder / "metadata.jsonl").exists():
        raise ValueError(f"`folder` must not hold a data set yet, but {folder} does.")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    studio = Studio(HandBodyModel.procedural(), size)
    rows: list[dict] = []
    index = 0
    with tqdm(total=num, desc="drawing") as bar:
        while len(rows) < num:
            scenes = [sample_scene(seed, "test", index + i, "two_hands") for i in range(_BATCH)]
            index += _BATCH
            nearer = [random.Random(scene.seed).choice(SIDES) for scene in scenes]
            hands, done = bring_together(pose_scenes(scenes, studio.body_model), nearer, studio.body_model)
            images, _ = studio.draw(scenes, hands)
            for i in done.nonzero()[:, 0].tolist()[: num - len(rows)]:
                rows.append(_write_row(folder, len(rows), scenes[i], hands[i], images[i]))
            bar.update(len(rows) - bar.n)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_row(folder: Path, number: int, scene: Scene, hands: HandParams, image: torch.Tensor) -> dict:
    file_name = f"images/{number:06d}.png"
    pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(folder / file_name)
    text = describe(scene, random.Random(scene.seed))
    facts = {"source": "studio", "crop": None, "scene": scene.to_dict()}
    return {"file_name": file_name, "text": text, **hands.to_dict(), **facts}
