"""Trains the network of the judge of hands on the studio's pairs, and calibrates it.

    python tools/train_judge.py WORK_FOLDER --output FOLDER [--num 6000] [--minutes 25]

Draws NUM pairs of the train split (seed 73, images of 128 to 256 pixels) and a seventh as many to calibrate with
(seed 74), finds and fits their hands with MediaPipe (of the extra `detect`), trains on the former on one core, and
takes both thresholds from the latter. Views are kept in the folder, so a second run only trains.
`tools/score_judge.py` measures the result on others. The judge's weights are written in half precision.
"""

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from judged_hands import STORED_REACH, STORED_SIZE, collect, read_views
from PIL import Image

from diffusers_handiffuser.evaluation.judges.studio_judge import StudioFeatureNetwork
from diffusers_handiffuser.repair.defect_network import NEAR_REACH, HandDefectNetwork
from diffusers_handiffuser.studio.defects import DEFECTS

TRAIN_SEED, CALIBRATION_SEED = 73, 74
BATCH, LEARNING_RATE, SMOOTHING = 64, 2e-3, 0.05
UNLIKE = 0.15
"""Share of a batch that is made unlike the studio's images."""
VISIBLE = 16
"""Of 255: smaller differences between the images of a pair do not count as drawn wrong."""
LEAST_SEEN = 0.0015
"""Of the view: a defect that changes less is not learned from."""
LEAST_FLAGGED, NEVER = 0.3, 2.0
"""A network that flags fewer of the defective hands at its threshold has no say: the threshold is never reached."""
GOOD_LEFT_ALONE = 0.988
"""Share of the good hands that the threshold leaves alone when it is calibrated."""
STUDIO_KEPT = 0.985
"""Share of the studio's hands that count as the studio's."""
AVERAGED = 0.998

Batch = dict[str, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--max_steps", type=int, help="ends training earlier; repeats a run exactly")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    collect(args.folder / "train", TRAIN_SEED, "train", args.num)
    collect(args.folder / "calibration", CALIBRATION_SEED, "train", args.num // 7)
    train_views, calibration_views = (read_views(args.folder / name) for name in ("train", "calibration"))
    torch.manual_seed(args.seed)
    network = HandDefectNetwork(kinds=DEFECTS)
    start_from_features(network)
    steps = train(network, train_views, args.seed, args.minutes, args.max_steps)
    calibrate(network, calibration_views)
    network.half().save_pretrained(args.output)
    facts = {
        "steps": steps,
        "hands": len(train_views["label"]),
        "defective": int((train_views["label"] > 0).sum()),
        "seed": args.seed,
    }
    (args.output / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def start_from_features(network: HandDefectNetwork) -> None:
    """Takes what sees images from the studio's feature network, which has the same stem and blocks.

    The first two layers, which are the costliest to train, are kept as they are.
    """
    known = StudioFeatureNetwork.bundled().float()
    network.stem.load_state_dict(known.stem.state_dict())
    network.blocks.load_state_dict(known.blocks.state_dict())
    network.stem.requires_grad_(False)


def train(
    network: HandDefectNetwork, views: Batch, seed: int, minutes: float | None = None, max_steps: int | None = None
) -> int:
    """Trains for so many minutes or steps, and returns the number of steps.

    The network gets a moving average of its weights.
    """
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    learned = learnable(views)
    print(f"{len(learned)} hands, {int((views['label'][learned] > 0).sum())} defective", flush=True)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    network.train().to(memory_format=torch.channels_last)
    network.stem.eval()
    start, step = time.monotonic(), 0
    for chosen in orders(learned, views["label"], generator):
        by_time = 0.0 if minutes is None else (time.monotonic() - start) / (60 * minutes)
        progress = max(by_time, 0.0 if max_steps is None else step / max_steps)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 25 * progress + 0.02, 1.03 - progress)
        batch = augment({name: values[chosen] for name, values in views.items()}, generator, rng)
        loss = loss_of(network, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step += 1
        kept = min(AVERAGED, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - kept)
        if step % 50 == 0:
            print(f"step {step}  loss {loss.item():.3f}  {progress:.0%}", flush=True)
    network.load_state_dict(average)
    network.eval().to(memory_format=torch.contiguous_format)
    return step


def learnable(views: Batch) -> torch.Tensor:
    """The rows whose defect can be seen, and the good ones."""
    seen = (views["difference"] > VISIBLE).flatten(1).float().mean(1) > LEAST_SEEN
    return (seen | (views["label"] == 0)).nonzero()[:, 0]


def orders(rows: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Batches without end: half of them good hands, half defective ones, each in random order."""
    groups = [rows[labels[rows] == 0], rows[labels[rows] > 0]]
    queues = [torch.empty(0, dtype=torch.long)] * 2
    while True:
        parts = []
        for k, group in enumerate(groups):
            while len(queues[k]) < BATCH // 2:
                queues[k] = torch.cat([queues[k], group[torch.randperm(len(group), generator=generator)]])
            parts.append(queues[k][: BATCH // 2])
            queues[k] = queues[k][BATCH // 2 :]
        yield torch.cat(parts)


def loss_of(network: HandDefectNetwork, batch: Batch) -> torch.Tensor:
    output = network(batch["near"], batch["wide"], batch["signs"])
    studio = ~batch["unlike"]
    kind = F.cross_entropy(output.logits[studio], batch["label"][studio], label_smoothing=SMOOTHING)
    cells = F.adaptive_max_pool2d(batch["difference"], output.where.shape[-1])[:, 0]
    where = F.binary_cross_entropy_with_logits(output.where[studio], cells[studio], pos_weight=torch.tensor(3.0))
    domain = F.binary_cross_entropy_with_logits(output.studio, studio.float())
    return kind + where + 0.5 * domain


def augment(batch: Batch, generator: torch.Generator, rng: np.random.Generator) -> Batch:
    """Views as floats, moved, recoloured, blurred and compressed at random; some made unlike the studio's."""
    number = len(batch["label"])

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(number, *shape, generator=generator)

    near = torch.cat([batch["near"], batch["difference"]], 1).float() / 255
    turn, grow = uniform(-0.2, 0.2), uniform(0.9, 1.12) * SHOWN
    shift = uniform(-0.06, 0.06, 2)
    cos, sin = turn.cos() * grow, turn.sin() * grow
    affine = torch.stack([torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], 1)
    grid = F.affine_grid(affine, [number, 7, NEAR_SIZE, NEAR_SIZE], align_corners=False)
    near = F.grid_sample(near, grid, padding_mode="border", align_corners=False)
    near, difference = near[:, :6], (near[:, 6:] > VISIBLE / 255).float()
    wide = batch["wide"].float() / 255

    gain = (0.12 * torch.randn(number, 3, 1, 1, generator=generator)).exp()
    contrast, light = uniform(0.75, 1.25, 1, 1, 1), uniform(-0.1, 0.1, 1, 1, 1)
    colors = [near[:, :3], wide[:, :3]]
    colors = [((image * gain - 0.5) * contrast + 0.5 + light).clamp(0, 1) for image in colors]
    unlike = torch.rand(number, generator=generator) < UNLIKE
    for row in unlike.nonzero()[:, 0].tolist():
        _make_unlike([image[row] for image in colors], near[row, 3], colors, rng)
    for row in (torch.rand(number, generator=generator) < 0.3).nonzero()[:, 0].tolist():
        sigma = float(rng.uniform(0.3, 1.2))
        colors[0][row] = _blurred(colors[0][row], sigma)
        colors[1][row] = _blurred(colors[1][row], 0.4 * sigma)
    for row in (torch.rand(number, generator=generator) < 0.25).nonzero()[:, 0].tolist():
        colors[0][row] = _compressed(colors[0][row], int(rng.integers(30, 92)))
    for image in colors:
        strength = uniform(0, 0.04, 1, 1, 1) * (torch.rand(number, 1, 1, 1, generator=generator) < 0.4)
        image += strength * torch.randn(image.shape, generator=generator)
    near = torch.cat([colors[0].clamp(0, 1), near[:, 3:]], 1).contiguous(memory_format=torch.channels_last)
    wide = torch.cat([colors[1].clamp(0, 1), wide[:, 3:]], 1).contiguous(memory_format=torch.channels_last)
    signs = batch["signs"] + 0.05 * torch.randn(batch["signs"].shape, generator=generator)
    return {
        "near": near,
        "wide": wide,
        "signs": signs,
        "label": batch["label"],
        "difference": difference,
        "unlike": unlike,
    }


def _make_unlike(
    images: list[torch.Tensor], silhouette: torch.Tensor, others: list[torch.Tensor], rng: np.random.Generator
) -> None:
    """Changes both views of a hand, in place: another background, texture all over, or a second image in it."""
    way = rng.integers(3)
    other = int(rng.integers(len(others[0])))
    for k, image in enumerate(images):
        noise = _natural_noise(image.shape[-1], rng)
        if way == 0:
            hand = silhouette[None] if k == 0 else torch.zeros(1, 1, 1)
            soft = _blurred(hand, 2.0) if k == 0 else hand
            image.copy_(torch.lerp(noise, image, soft))
        elif way == 1:
            image.copy_((image + rng.uniform(0.15, 0.5) * (noise - noise.mean())).clamp(0, 1))
        else:
            image.copy_(torch.lerp(image, others[k][other].flip(-1), float(rng.uniform(0.3, 0.6))))
            image.copy_((image + 0.2 * (noise - noise.mean())).clamp(0, 1))


def _natural_noise(size: int, rng: np.random.Generator) -> torch.Tensor:
    """`(3, size, size)` in [0, 1] with the spectrum of photographs, amplitudes that fall with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    spectrum = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    noise = np.fft.irfft2(spectrum / frequency ** rng.uniform(0.7, 1.5), (size, size))
    noise = noise / noise.std(axis=(1, 2), keepdims=True)
    grey, tint = noise[:1], noise
    mixed = rng.uniform(0.15, 0.35) * (0.8 * grey + 0.4 * tint) + rng.uniform(0.2, 0.8, (3, 1, 1))
    return torch.from_numpy(mixed.clip(0, 1).astype(np.float32))


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, round(2.5 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    padded = F.pad(image[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]


def _compressed(image: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


@torch.no_grad()
def calibrate(network: HandDefectNetwork, views: Batch) -> None:
    """Takes both thresholds from hands of the studio that were not trained on."""
    outputs = [
        predict(network, {name: values[rows] for name, values in views.items()})
        for rows in torch.arange(len(views["label"])).split(100)
    ]
    bad, studio = (torch.cat(values) for values in zip(*outputs, strict=True))
    good = views["label"] == 0
    threshold = round(float(bad[good].quantile(GOOD_LEFT_ALONE)), 4)
    share = float((bad[~good] > threshold).float().mean())
    print(f"{share:.2f} of the defective hands are beyond {threshold}")
    network.register_to_config(
        threshold=threshold if share >= LEAST_FLAGGED else NEVER,
        studio_threshold=round(float(studio.quantile(1 - STUDIO_KEPT)), 4),
    )
    flagged = bad > network.config.threshold
    print(f"threshold {network.config.threshold}, studio {network.config.studio_threshold}")
    for kind, name in enumerate(("good", *DEFECTS)):
        rows = views["label"] == kind
        print(f"{name}: {int(flagged[rows].sum())} of {int(rows.sum())} flagged")


def predict(network: HandDefectNetwork, views: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of a defect, and logits that an image is the studio's, of stored views."""
    edge = round((1 - SHOWN) * STORED_SIZE / 2)
    near = views["near"][..., edge:-edge, edge:-edge].float() / 255
    near = F.interpolate(near, (NEAR_SIZE,) * 2, mode="bilinear", antialias=True)
    output = network(near, views["wide"].float() / 255, views["signs"])
    return 1 - output.logits.softmax(-1)[:, 0], output.studio


NEAR_SIZE = 64
SHOWN = NEAR_REACH / STORED_REACH
"""Side of the square that the network sees, in that of a stored view."""

if __name__ == "__main__":
    main()
