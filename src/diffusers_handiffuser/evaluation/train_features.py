"""Trains the small feature network on a studio data set and measures it on held-out rows.

    python -m diffusers_handiffuser.evaluation.train_features --data train --held_out test --output OUT

One network learns to classify whole images and hand crops. Half of the images are mirrored, with their sides
exchanged. Writes the weights in half precision and `accuracy.json`: the accuracy of every head on held-out rows, with
n and a 95 % interval.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from ..data import HandRow, stack_hand_params
from ..data.geometry import hand_joints_in_pixels
from ..hands.body_model import procedural_body
from ..hands.skeleton import OPENPOSE_FINGERS, SIDES
from ..studio import Scene, gesture_by_name
from ..studio.scenes import COLORS, KINDS, SKIN_TONES, TEXTURES, VIEWS
from ..utils.command_line import run_as_command
from .judges.crops import MARGIN, as_tensor, hand_crops
from .judges.studio_judge import GESTURE_NAMES, YES_OR_NO, StudioFeatureNetwork
from .metrics.estimates import Estimate, bootstrap_mean
from .rows import check_studio_rows, read_rows

_ROOM = 1.25
"""Training images are this much larger than the network's input, for random crops."""
_UNKNOWN = -1

Examples = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""Images `(N, 3, S, S)` uint8, and the labels of each head, -1 where unknown."""


def read_examples(rows: Sequence[HandRow], size: int, room: float = 1.0) -> Examples:
    """Whole images, then hand crops, with their labels.

    Args:
        rows (`Sequence[HandRow]`): studio rows with images.
        size (`int`): of the network's input, in pixels.
        room (`float`): images are this much larger than `size`; hand crops get a wider margin instead.

    Returns:
        `tuple`: images and labels, see `Examples`.
    """
    check_studio_rows([row.columns for row in rows])
    kept = round(size * room)
    margin = (1 + 2 * MARGIN) * kept / size / 2 - 0.5
    scenes = [Scene(**row.columns["scene"]) for row in rows]
    hands, body = stack_hand_params(rows), procedural_body()
    wholes, crops, labels, hand_labels = [], [], [], []
    for number, (row, scene) in enumerate(zip(rows, scenes, strict=True)):
        if row.picture is None:
            raise ValueError(f"{row.where}: the row has no image")
        wholes.append(torch.tensor(row.picture.square(kept)))
        labels.append(_whole_labels(scene, hands.hand_visible[number]))
        image = as_tensor(row.picture.open())[None]
        joints = hand_joints_in_pixels(hands[number].reshape(1), body, image.shape[2], image.shape[1])
        found, places = hand_crops(image, joints, hands.hand_visible[number : number + 1], kept, margin)
        crops.append(found)
        hand_labels += [labels_of_hand(scene, SIDES[side]) for side in places[:, 1].tolist()]
    images = torch.cat([torch.stack(wholes), *crops]).permute(0, 3, 1, 2).contiguous()
    labels += hand_labels
    return images, {name: torch.stack([label[name] for label in labels]) for name in labels[0]}


def _common_labels(scene: Scene) -> dict[str, torch.Tensor]:
    return {
        "skin": torch.tensor(list(SKIN_TONES).index(scene.skin)),
        "background": torch.tensor(list(COLORS).index(scene.background)),
        "texture": torch.tensor(TEXTURES.index(scene.texture)),
    }


def _whole_labels(scene: Scene, visible: torch.Tensor) -> dict[str, torch.Tensor]:
    unknown = torch.tensor(_UNKNOWN)
    return {
        **_common_labels(scene),
        "kind": torch.tensor(KINDS.index(scene.kind)),
        "raised": visible.long(),
        **dict.fromkeys(("gesture", "side", "view"), unknown),
        "fingers": unknown.expand(len(OPENPOSE_FINGERS)),
    }


def labels_of_hand(scene: Scene, side: str) -> dict[str, torch.Tensor]:
    """Label of each head for the crop of a scene's "left" or "right" hand."""
    gesture = gesture_by_name(scene.gestures[side])
    return {
        **_common_labels(scene),
        "kind": torch.tensor(_UNKNOWN),
        "raised": torch.tensor([_UNKNOWN, _UNKNOWN]),
        "gesture": torch.tensor(GESTURE_NAMES.index(gesture.name)),
        "side": torch.tensor(SIDES.index(side)),
        "view": torch.tensor(VIEWS.index(scene.views[side])),
        "fingers": torch.tensor([int(finger in gesture.extended) for finger in OPENPOSE_FINGERS]),
    }


def naming_loss(logits: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropies, summed over the heads; each is the mean over the examples whose label is known."""
    total = next(iter(logits.values())).new_zeros(())
    for name, values in logits.items():
        wanted = labels[name]
        if name in YES_OR_NO:
            known = wanted != _UNKNOWN
            if known.any():
                total = total + F.binary_cross_entropy_with_logits(values[known], wanted[known].float())
        elif (wanted != _UNKNOWN).any():
            total = total + F.cross_entropy(values, wanted, ignore_index=_UNKNOWN)
    return total


def augment(images: torch.Tensor, labels: dict[str, torch.Tensor], size: int, generator: torch.Generator) -> Examples:
    """A batch cropped to the network's size at random; half of it is mirrored, with its sides exchanged."""
    shifts = torch.randint(images.shape[-1] - size + 1, (len(images), 2), generator=generator).tolist()
    cut = torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(images, shifts, strict=True)])
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    cut[mirrored] = cut[mirrored].flip(-1)
    changed = dict(labels)
    side, raised = labels["side"], labels["raised"]
    changed["side"] = torch.where(mirrored & (side != _UNKNOWN), 1 - side, side)
    changed["raised"] = torch.where(mirrored[:, None], raised.flip(-1), raised)
    return cut, changed


def train(
    network: StudioFeatureNetwork,
    examples: Examples,
    batch_size: int,
    learning_rate: float,
    seed: int,
    max_steps: int | None,
    max_minutes: float | None,
) -> int:
    """Trains for `max_steps` or `max_minutes`, whichever ends first, and returns the number of steps."""
    images, labels = examples
    generator = torch.Generator().manual_seed(seed)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    network.train().to(memory_format=torch.channels_last)  # a fifth faster on CPUs
    start, step, order = time.monotonic(), 0, torch.empty(0, dtype=torch.long)
    while True:
        by_time = 0.0 if max_minutes is None else (time.monotonic() - start) / (60 * max_minutes)
        progress = max(by_time, 0.0 if max_steps is None else step / max_steps)
        if progress >= 1:
            network.eval().to(memory_format=torch.contiguous_format)
            return step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, 20 * progress + 0.02, 1.05 - progress)
        if len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(images), generator=generator)])
        chosen, order = order[:batch_size], order[batch_size:]
        batch = augment(images[chosen], {name: v[chosen] for name, v in labels.items()}, network.input_size, generator)
        loss = naming_loss(network.logits(network(batch[0])), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step}  loss {loss.item():.3f}  {progress:.0%}", flush=True)


@torch.no_grad()
def accuracies(network: StudioFeatureNetwork, examples: Examples, batch_size: int = 100) -> dict[str, Estimate]:
    """Accuracy of each head over the examples whose label is known, and of `"finger_count"`.

    Binary labels count as right if all of them are: all five fingers, or both hands. Two crops of one image are two
    cases.
    """
    images, labels = examples
    parts = [network.logits(network(part)) for part in images.split(batch_size)]
    right = {}
    for name, wanted in labels.items():
        logits = torch.cat([part[name] for part in parts]).cpu()
        if name in YES_OR_NO:
            known = (wanted != _UNKNOWN).all(-1)
            right[name] = ((logits > 0) == (wanted == 1)).all(-1)[known]
        else:
            known = wanted != _UNKNOWN
            right[name] = (logits.argmax(-1) == wanted)[known]
        if name == "fingers":
            right["finger_count"] = ((logits > 0).sum(-1) == wanted.sum(-1))[known]
    return {name: bootstrap_mean(values.double()) for name, values in sorted(right.items()) if len(values)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="studio data set with images, to train on")
    parser.add_argument("--held_out", required=True, help="another one, of the split `test`, to evaluate on")
    parser.add_argument("--output", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--num", type=int, help="the first rows only")
    parser.add_argument("--input_size", type=int, default=64)
    parser.add_argument("--train_batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--max_train_steps", type=int)
    parser.add_argument("--max_train_minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.max_train_steps is None and args.max_train_minutes is None:
        raise ValueError("--max_train_steps or --max_train_minutes is needed")
    held_out = read_examples(read_rows(args.held_out), args.input_size)
    examples = read_examples(read_rows(args.data, args.num), args.input_size, _ROOM)
    torch.manual_seed(args.seed)
    network = StudioFeatureNetwork(args.input_size)
    print(f"{len(examples[0])} examples, {sum(p.numel() for p in network.parameters())} parameters", flush=True)
    steps = train(
        network,
        examples,
        args.train_batch_size,
        args.learning_rate,
        args.seed,
        args.max_train_steps,
        args.max_train_minutes,
    )
    network.half().save_pretrained(args.output)
    stored = StudioFeatureNetwork.from_pretrained(args.output).eval()
    report = {name: estimate.to_dict() for name, estimate in accuracies(stored, held_out).items()}
    facts = {"steps": steps, "examples": len(examples[0]), "seed": args.seed, "accuracy": report}
    (args.output / "accuracy.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for name, values in report.items():
        print(f"{name:14} {values['value']:.3f} [{values['low']:.3f}, {values['high']:.3f}], n = {values['n']}")


if __name__ == "__main__":
    run_as_command(main)
