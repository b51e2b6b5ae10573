"""From results to a report: tables with intervals, a plot, and the arms' images of the same captions and seeds.

Everything is computed from the `results.json` of each folder. Scores are those of rows (the mean of a row's samples);
intervals are 95 % bootstrap intervals over rows. Differences between arms are taken row by row, as all arms drew the
same rows from the same noise.
"""

import json
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from arm_pictures import RESULTS_FILE
from fairness import group_gap
from PIL import Image, ImageDraw

from diffusers_handiffuser.evaluation.metrics.estimates import Estimate, bootstrap_mean

FULL, CEILING = "full", "data"
LABEL_WIDTH, LINE_HEIGHT, PANEL_WIDTH, PANELS_BESIDE = 150, 18, 260, 4

Results = dict[str, Any]


def read_results(folders: Sequence[Path], order: Sequence[str]) -> list[Results]:
    """The results of evaluations, in the order of the arms and the ceiling last; refuses what cannot be compared.

    `"label"` is the arm's name, and where it was trained with another seed than most, that too.
    """
    found = []
    for folder in folders:
        results = json.loads((folder / RESULTS_FILE).read_text())
        results["folder"] = folder
        found.append(results)
    for key in ("seed", "samples", "sampler"):
        _check_equal(key, {str(r["folder"]): r[key] for r in found if r["arm"]["name"] != CEILING})
    trained = [r for r in found if r["arm"]["name"] != CEILING]
    _check_equal("training", {str(r["folder"]): {**r["arm"]["shared"], "seed": None} for r in trained})
    usual = Counter(r["arm"]["shared"]["seed"] for r in trained).most_common(1)
    for results in found:
        name, seed = results["arm"]["name"], results["arm"]["shared"].get("seed")
        results["label"] = name if name == CEILING or seed == usual[0][0] else f"{name}, seed {seed}"
    _check_equal("detector", {str(r["folder"]): r["detector"] for r in found})
    seen: dict[tuple, Path] = {}
    for results in found:
        key = (results["label"], results["data"], results["hands"])
        if key in seen:
            raise ValueError(f"{seen[key]} and {results['folder']} are of the same arm, data and hands")
        seen[key] = results["folder"]
        sets = [r["rows"] for r in found if r["data"] == results["data"]]
        if set(sets) != {results["rows"]}:
            raise ValueError(f"results on {results['data']} are of different numbers of rows: {sorted(set(sets))}")
    names = [*order, CEILING]
    return sorted(found, key=lambda r: (names.index(r["arm"]["name"]), r["label"]))


def _check_equal(what: str, values: dict[str, Any]) -> None:
    folders = list(values)
    for folder in folders[1:]:
        if values[folder] != values[folders[0]]:
            raise ValueError(f"not comparable: {what} is not the same in {folders[0]} and {folder}")


def scores_of(results: Results, metric: str, rows: Sequence[int] | None = None) -> torch.Tensor:
    """Scores `(n,)` of a metric, NaN where it is not defined; of all rows or of some."""
    scores = torch.tensor([math.nan if s is None else s for s in results["scores"][metric]], dtype=torch.float64)
    return scores if rows is None else scores[list(rows)]


def estimate(scores: torch.Tensor) -> Estimate | None:
    """The mean of the scores that are defined; `None` if there are none."""
    defined = scores[~scores.isnan()]
    return bootstrap_mean(defined) if len(defined) else None


def metrics_of(results: Sequence[Results]) -> list[str]:
    """The metrics that all have."""
    return [name for name in results[0]["scores"] if all(name in r["scores"] for r in results)]


def write_report(folders: Sequence[Path], output: Path, order: Sequence[str], columns: int) -> None:
    """Writes the report to `output` (.md), and beside it a plot and a grid of images for each data set.

    Where the folders hold `results.json` alone there is no grid; all else is made of that.
    """
    results = read_results(folders, order)
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# The arms compared", "", *_about(results)]
    for data in dict.fromkeys(r["data"] for r in results):
        of_data = [r for r in results if r["data"] == data]
        own = [r for r in of_data if r["hands"] == "own"]
        lines += ["", f"## {data}: {of_data[0]['rows']} rows"]
        if own:
            lines += _own_hands_section(own, output, data, columns)
        lines += _sampled_section(of_data)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _about(results: Sequence[Results]) -> list[str]:
    trained = {r["label"]: r["arm"] for r in results if r["label"] != CEILING}
    seeds = next(({k: r[k] for k in ("samples", "seed")} | r["sampler"] for r in results if r["sampler"]), {})
    lines = [
        "Means over rows with 95 % bootstrap intervals. **Bold**: the interval of a difference excludes 0. Intervals",
        "are of the rows, not of the training: an arm trained again with another seed shows what that changes.",
        f"Sampling: {_listed(seeds)}. Detector: {results[0]['detector'] or 'none'}.",
        "",
        "| arm | is | seed | steps | minutes |",
        "|---|---|---|---|---|",
    ]
    for name, arm in trained.items():
        seed = arm["shared"]["seed"]
        lines.append(f"| {name} | {arm['about']} | {seed} | {arm['steps']} | {arm['minutes']:.0f} |")
    if trained:
        shared = {**next(iter(trained.values()))["shared"], "seed": None}
        lines += ["", f"The same in all: {_listed(shared)}."]
    return lines


def _listed(facts: dict) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in facts.items() if value not in (None, {}, False))


def _own_hands_section(own: list[Results], output: Path, data: str, columns: int) -> list[str]:
    metrics = metrics_of(own)
    full = next((r for r in own if r["label"] == FULL), None)
    plot = output.with_name(f"{output.stem}.{data}.plot.png")
    draw_plot(own, metrics).save(plot)
    lines = ["", "### The rows' own hands", "", *_table(own, metrics)]
    if full is not None:
        lines += ["", "Difference to `full`, row by row:", "", *_differences(own, full, metrics)]
    lines += ["", *_distances(own)]
    lines += ["", f"![means with intervals]({plot.name})"]
    if all((r["folder"] / "images").is_dir() for r in own):
        grid = output.with_name(f"{output.stem}.{data}.pictures.png")
        draw_grid(own, columns).save(grid)
        lines += ["", f"![the same captions and seeds]({grid.name})"]
    for name, rows in own[0]["subsets"].items():
        lines += ["", f"### Rows of `{name}`", ""]
        lines += _table(own, metrics, rows) if rows else ["None."]
        if rows and full is not None:
            lines += ["", "Difference to `full`:", "", *_differences(own, full, metrics, rows)]
    for question, labels in own[0]["groups"].items():
        lines += ["", f"### By {question}", "", *_gaps(own, metrics, labels)]
    return lines


def _table(results: Sequence[Results], metrics: Sequence[str], rows: Sequence[int] | None = None) -> list[str]:
    lines = [f"| arm | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
    for r in results:
        cells = [_cell(estimate(scores_of(r, metric, rows))) for metric in metrics]
        lines.append(f"| {r['label']} | {' | '.join(cells)} |")
    return lines


def _cell(found: Estimate | None) -> str:
    return "none" if found is None else str(found)


def _differences(
    results: Sequence[Results], base: Results, metrics: Sequence[str], rows: Sequence[int] | None = None
) -> list[str]:
    """Of each result to another one, over the rows, all or some, in which both have a score."""
    lines = [f"| arm | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
    for r in results:
        if r is not base:
            cells = [_difference_cell(scores_of(r, m, rows) - scores_of(base, m, rows)) for m in metrics]
            lines.append(f"| {r['label']} | {' | '.join(cells)} |")
    return lines


def _difference_cell(differences: torch.Tensor) -> str:
    found = estimate(differences)
    if found is None:
        return "none"
    text = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def _distances(results: Sequence[Results]) -> list[str]:
    """Of each set of images to the data's own images of the same rows."""
    kinds = list(results[0]["distances"])
    lines = ["Distance from the data's own images, features of the studio's network (lower is better):", ""]
    lines += [f"| arm | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for r in results:
        cells = [str(Estimate(**r["distances"][kind])) for kind in kinds]
        lines.append(f"| {r['label']} | {' | '.join(cells)} |")
    return lines


def _gaps(results: Sequence[Results], metrics: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Best and worst group, gap with interval, and p against groups dealt at random."""
    lines = ["| arm | metric | gap, best over worst group | means of the groups |", "|---|---|---|---|"]
    for r in results:
        for metric in metrics:
            scores = scores_of(r, metric)
            if len({label for label, s in zip(labels, scores.tolist(), strict=True) if s == s}) < 2:
                continue
            gap = group_gap(scores, labels)
            means = ", ".join(f"{name} {e.value:.3f} (n = {e.n})" for name, e in gap.groups.items())
            lines.append(f"| {r['label']} | {metric} | {gap} | {means} |")
    return lines


def _sampled_section(of_data: Sequence[Results]) -> list[str]:
    """What stage 1 costs: the same arm with sampled hands and with the rows' own."""
    sampled = [r for r in of_data if r["hands"] == "sampled"]
    if not sampled:
        return []
    metrics = metrics_of(sampled)
    lines = ["", "### Hands sampled by stage 1", "", *_table(sampled, metrics), "", *_distances(sampled)]
    own = {r["label"]: r for r in of_data if r["hands"] == "own"}
    both = [r for r in sampled if r["label"] in own]
    if both:
        lines += ["", "Sampled minus own hands, row by row:", ""]
        lines += [f"| arm | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
        for r in both:
            other = own[r["label"]]
            cells = [_difference_cell(scores_of(r, m) - scores_of(other, m)) for m in metrics]
            lines.append(f"| {r['label']} | {' | '.join(cells)} |")
    return lines


def draw_plot(results: Sequence[Results], metrics: Sequence[str]) -> Image.Image:
    """A panel for each metric: the mean and the interval of each arm, over [0, 1] or wider if scores lie outside."""
    bands = [metrics[start : start + PANELS_BESIDE] for start in range(0, len(metrics), PANELS_BESIDE)]
    height = LINE_HEIGHT * (len(results) + 2)
    plot = Image.new("RGB", (LABEL_WIDTH + PANEL_WIDTH * len(bands[0]), height * len(bands)), "white")
    pen = ImageDraw.Draw(plot)
    for band, names in enumerate(bands):
        top = height * band
        for line, r in enumerate(results, 1):
            pen.text((4, top + LINE_HEIGHT * line + 3), r["label"], fill="black")
        for number, metric in enumerate(names):
            _draw_panel(pen, (LABEL_WIDTH + PANEL_WIDTH * number, top), results, metric)
    return plot


def _draw_panel(pen: ImageDraw.ImageDraw, corner: tuple[int, int], results: Sequence[Results], metric: str) -> None:
    found = [estimate(scores_of(r, metric)) for r in results]
    ends = [0.0, 1.0] + [end for e in found if e is not None for end in (e.low, e.high)]
    first, last = min(ends), max(ends)
    left, right = corner[0] + 10, corner[0] + PANEL_WIDTH - 30
    top, bottom = corner[1] + LINE_HEIGHT, corner[1] + LINE_HEIGHT * (len(results) + 1)
    pen.text((left, corner[1] + 3), metric, fill="black")
    pen.rectangle((left, top, right, bottom), outline="gray")
    pen.text((left, bottom + 2), f"{first:g}", fill="black")
    pen.text((right - 6, bottom + 2), f"{last:g}", fill="black")
    for line, e in enumerate(found):
        if e is not None:
            y = top + LINE_HEIGHT * line + LINE_HEIGHT // 2
            low, middle, high = (
                left + (right - left) * (x - first) / (last - first) for x in (e.low, e.value, e.high)
            )
            pen.line((low, y, high, y), fill="black", width=2)
            pen.ellipse((middle - 4, y - 4, middle + 4, y + 4), fill="black")


def draw_grid(results: Sequence[Results], columns: int) -> Image.Image:
    """A line for each arm: its first sample of the first rows."""
    columns = min(columns, *(r["rows"] for r in results))
    lines = []
    for r in results:
        files = [r["folder"] / f"images/{row * r['samples']:06d}.png" for row in range(columns)]
        lines.append([Image.open(file).convert("RGB") for file in files])
    side = max(image.width for line in lines for image in line)
    grid = Image.new("RGB", (LABEL_WIDTH + side * columns, side * len(lines)), "white")
    pen = ImageDraw.Draw(grid)
    for i, (r, line) in enumerate(zip(results, lines, strict=True)):
        label = "\n".join(textwrap.wrap(r["label"].replace("+", " + "), 22))
        pen.multiline_text((4, side * i + 4), label, fill="black")
        for j, image in enumerate(line):
            grid.paste(image.resize((side, side), Image.Resampling.NEAREST), (LABEL_WIDTH + side * j, side * i))
    return grid
