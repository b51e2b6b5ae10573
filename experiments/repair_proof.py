"""Repairs hands that the studio drew with defects on purpose, and measures what the repair did not see.

    handiffuser data make train --num 16000 --seed 0
    python experiments/joint_judge.py train --data train --output judge
    python experiments/repair_controlnet.py ... --output_dir controlnet             # its docstring has the options
    python experiments/repair_proof.py run --joint_judge judge --controlnet controlnet/controlnet --output proof
    python experiments/repair_proof.py report proof

Rows 0 to `--num` - 1 of the studio's test split get a defect each, all kinds in turn, and the next `--num` rows none.
`repair_hands` is given the image and its caption. Three questions: is a good hand left alone, is a bad one called bad,
and is what was accepted nearer to the true hand, which only the studio knows? Nearer is judged by the overlap of the
true outline with what is coloured like the hand, and by the joints that `joint_judge.py` finds, neither of which the
repair looks at. `run` goes on where it was stopped. `report` writes report.json, report.md, and grid.png: the first
24 defective images before, with the fits, and after.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from joint_judge import JointJudge, find_joints, load
from PIL import Image, ImageDraw

from diffusers_handiffuser import MINI, HanDiffuserControlNetInpaintPipeline, HanDiffuserInpaintPipeline, HandParams
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.detection.finding import open_detector
from diffusers_handiffuser.evaluation.metrics.colors import score_images
from diffusers_handiffuser.evaluation.metrics.estimates import bootstrap_mean
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.repair import RepairedHand, RepairOutput, draw_repair, painter_for, repair_hands
from diffusers_handiffuser.studio import DEFECTS, Scene, Studio, describe, draw_pairs, sample_defect, sample_scene
from diffusers_handiffuser.utils.command_line import run_as_command

RESULTS, GRID = "results.jsonl", 24
_NEAR = 0.5
"""Of the true hand's size: the mean distance of the fitted joints up to which a hand of the result is the true one."""


def draw_row(
    studio: Studio, row: int, num: int, seed: int = 0
) -> tuple[np.ndarray, Scene, str, str | None, HandParams]:
    """The image `(H, W, 3)`, uint8, of a row, its scene, the side in question, the defect, and the true hand."""
    scene = sample_scene(seed, "test", row)
    kind = DEFECTS[row % len(DEFECTS)] if row < num else None
    defect = sample_defect(scene, random.Random(row), kind or DEFECTS[0])
    pair = draw_pairs(studio, [scene], [defect])
    image = (pair.bad if kind else pair.good)[0]
    side = SIDES.index(defect.side)
    visible = torch.zeros(1, 2, dtype=torch.bool)
    visible[0, side] = True
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return pixels, scene, defect.side, kind, pair.hand_params.replace(hand_visible=visible)


def hand_in_question(output: RepairOutput, joints: np.ndarray, studio: Studio) -> RepairedHand | None:
    """The hand of the result that lies where the true joints (21, 2) are, if one does."""
    best, least = None, _NEAR * float(np.ptp(joints, axis=0).max())
    for hand in output.hands:
        if hand.before is None:
            continue
        side = int(hand.before.hand_visible[0].int().argmax())
        found = hand_joints_in_pixels(hand.before, studio.body_model, studio.size, studio.size)[0, side].numpy()
        distance = float(np.linalg.norm(found - joints, axis=-1).mean())
        if distance < least:
            best, least = hand, distance
    return best


def distance_to_truth(
    pixels: np.ndarray,
    scene: Scene,
    truth: HandParams,
    joints: np.ndarray,
    side: int,
    studio: Studio,
    judge: JointJudge,
) -> dict[str, float]:
    """Overlap of the true outline with what is coloured like the hand, and the joints' mean error in hand sizes."""
    colors = score_images(torch.from_numpy(pixels)[None].float() / 255, truth, [scene], studio.body_model)
    found = find_joints(judge, Image.fromarray(pixels), joints, side)
    size = float(np.ptp(joints, axis=0).max())
    return {
        "outline": float(colors["hand_iou"]),
        "joint_error": float(np.linalg.norm(found - joints, axis=-1).mean()) / size,
    }


def run_row(row: int, args: argparse.Namespace, studio: Studio, judge: JointJudge, repair: Callable) -> dict[str, Any]:
    """The result of a row, and its image before, with the fits, and after, in the folder `images`."""
    pixels, scene, side_name, kind, truth = draw_row(studio, row, args.num)
    side = SIDES.index(side_name)
    joints = hand_joints_in_pixels(truth, studio.body_model, studio.size, studio.size)[0, side].numpy()
    output = repair(pixels, describe(scene, random.Random(scene.seed)), row)
    after = np.asarray(output.image.convert("RGB"))
    outside = np.ones(pixels.shape[:2], bool)
    for hand in output.hands:
        if hand.mask is not None:
            outside &= np.asarray(hand.mask) == 0
    hand = hand_in_question(output, joints, studio)
    result: dict[str, Any] = {
        "row": row,
        "kind": kind,
        "hands": len(output.hands),
        "decision": "not_found" if hand is None else hand.decision,
        "reason": "" if hand is None else hand.reason,
        "touched": any(hand.decision in ("repaired", "not_improved") for hand in output.hands),
        "outside_equal": bool((pixels[outside] == after[outside]).all()),
        "before": distance_to_truth(pixels, scene, truth, joints, side, studio, judge),
    }
    if hand is not None and hand.decision == "repaired":
        result["after"] = distance_to_truth(after, scene, truth, joints, side, studio, judge)
    draw_repair(Image.fromarray(pixels), output, studio.body_model).save(args.output / "images" / f"{row:04}.png")
    return result


def run(args: argparse.Namespace) -> None:
    (args.output / "images").mkdir(parents=True, exist_ok=True)
    results = args.output / RESULTS
    done = {json.loads(line)["row"] for line in results.read_text().splitlines()} if results.exists() else set()
    studio, judge, detector = Studio(size=args.size), load(args.joint_judge), open_detector(args.detector)
    pipe = HanDiffuserInpaintPipeline.from_pretrained(args.model)
    if args.controlnet is not None:
        controlnet = ControlNetModel.from_pretrained(args.controlnet)
        pipe = HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnet)
    pipe.set_progress_bar_config(disable=True)
    painter = painter_for(pipe)

    def repair(pixels: np.ndarray, caption: str, row: int) -> RepairOutput:
        return repair_hands(pixels, painter, caption, seed=row, detector=detector, progress=False)

    rows = list(range(2 * args.num))
    random.Random(0).shuffle(rows)  # so that a run that is stopped has all kinds
    for row in sorted(set(rows) - done, key=rows.index):
        result = run_row(row, args, studio, judge, repair)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(f"row {row}: {result['kind'] or 'good'}: {result['decision']}: {result['reason']}", flush=True)


def _share(values: Iterable[bool]) -> dict[str, float] | None:
    found = [float(value) for value in values]
    return bootstrap_mean(torch.tensor(found)).to_dict() if found else None


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What became of some rows."""
    found = [row for row in rows if row["decision"] != "not_found"]
    accepted = [row for row in rows if "after" in row]
    result: dict[str, Any] = {
        "images": len(rows),
        "found": _share(row["decision"] != "not_found" for row in rows),
        "called bad": _share(row["decision"] in ("repaired", "not_improved") for row in rows),
        "called bad, where found": _share(row["decision"] in ("repaired", "not_improved") for row in found),
        "no hand of the image touched": _share(not row["touched"] for row in rows),
        "repaired": _share(row["decision"] == "repaired" for row in rows),
        "outside bit-equal": _share(row["outside_equal"] for row in rows),
    }
    for name, better in (("outline", 1), ("joint_error", -1)):
        pairs = [(row["before"][name], row["after"][name]) for row in accepted]
        result[f"nearer by {name}"] = _share(better * (after - before) > 0 for before, after in pairs)
        for when, place in (("before", 0), ("after", 1)):
            values = torch.tensor([pair[place] for pair in pairs])
            result[f"{name} {when}"] = bootstrap_mean(values).to_dict() if len(values) else None
    return result


def report(args: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in (args.output / RESULTS).read_text(encoding="utf-8").splitlines()]
    groups = {kind: [row for row in rows if row["kind"] == kind] for kind in DEFECTS}
    groups = {
        "good": [row for row in rows if row["kind"] is None],
        "defective": [row for row in rows if row["kind"]],
        **groups,
    }
    table = {name: summary(chosen) for name, chosen in groups.items() if chosen}
    (args.output / "report.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    names = list(next(iter(table.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for group, values in table.items():
        cells = [_cell(values[name]) for name in names]
        lines.append(f"| {group.replace('_', ' ')} | {' | '.join(cells)} |")
    (args.output / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    write_grid(args.output, sorted((row for row in rows if row["kind"]), key=lambda row: row["row"])[:GRID])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]" if isinstance(value, dict) else str(value)


def write_grid(folder: Path, rows: Sequence[dict[str, Any]], columns: int = 3, height: int = 128) -> None:
    """Before, fits and after of rows, with what was decided."""
    cell = (3 * height + 6, height + 16)
    grid = Image.new("RGB", (columns * cell[0], -(-len(rows) // columns) * cell[1]), "white")
    pen = ImageDraw.Draw(grid)
    for place, row in enumerate(rows):
        x, y = place % columns * cell[0], place // columns * cell[1]
        grid.paste(Image.open(folder / "images" / f"{row['row']:04}.png").resize((3 * height, height)), (x, y))
        pen.text((x + 2, y + height + 2), f"{row['kind']}: {row['decision']}".replace("_", " "), fill="black")
    grid.save(folder / "grid.png", optimize=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--joint_judge", type=Path, required=True, help="folder that joint_judge.py wrote")
    command.add_argument("--model", default=MINI)
    command.add_argument("--controlnet", help="folder of a ControlNet; by default the model repairs alone")
    command.add_argument("--num", type=int, default=200, help="defective images, and as many good ones")
    command.add_argument("--size", type=int, default=256, help="pixels per side of the images")
    command.add_argument("--detector", default="mediapipe")
    command.set_defaults(run=run)
    command = commands.add_parser("report")
    command.add_argument("output", type=Path)
    command.set_defaults(run=report)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run_as_command(main)
