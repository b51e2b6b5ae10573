"""The report's numbers on made-up results."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROWS = 40


def made_up(folder, name, scores, **changes):
    """Results of an arm with given scores."""
    (folder / "images").mkdir(parents=True)
    for number in range(2 * ROWS):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"images/{number:06d}.png")
    results = {
        "arm": {"name": name, "about": f"is {name}", "shared": {"seed": 0}, "steps": 5, "minutes": 1.0},
        "data": "test",
        "rows": ROWS,
        "hands": "own",
        "samples": 2,
        "seed": 0,
        "sampler": {"steps": 25},
        "scores": {"quality": scores},
        "distances": {"kid_hands": {"value": 2.5, "low": 2.0, "high": 3.0, "n": ROWS, "seed": 0}},
        "detector": None,
        "subsets": {"hard": [0, 1, 2, 3], "none": []},
        "groups": {"skin": ["pale", "deep"] * (ROWS // 2)},
    }
    (folder / "results.json").write_text(json.dumps({**results, **changes}))
    return folder


@pytest.fixture
def noise():
    return torch.rand(ROWS, generator=torch.Generator().manual_seed(0)).double()


def report(folders, tmp_path):
    from arm_report import write_report

    write_report(folders, tmp_path / "report.md", ["text", "full"], 4)
    return (tmp_path / "report.md").read_text().splitlines()


def test_differences_are_taken_row_by_row(noise, tmp_path):
    """Rows differ far more than arms do, and still the small difference is certain."""
    worse = made_up(tmp_path / "text", "text", (noise - 0.1).tolist())
    full = made_up(tmp_path / "full", "full", noise.tolist())
    lines = report([full, worse], tmp_path)
    assert "| text | **-0.100 [-0.100, -0.100]** |" in lines
    table = lines.index("### The rows' own hands")
    assert lines[table + 4].startswith(f"| text | {noise.mean() - 0.1:.3f} [")
    assert lines[table + 5].startswith(f"| full | {noise.mean():.3f} [") and "n = 40" in lines[table + 5]


def test_no_difference_is_not_bold(noise, tmp_path):
    shuffled = noise[torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))]
    folders = [
        made_up(tmp_path / "text", "text", shuffled.tolist()),
        made_up(tmp_path / "full", "full", noise.tolist()),
    ]
    line = next(line for line in report(folders, tmp_path) if line.startswith("| text | ") and "0.000 [-" in line)
    assert "**" not in line


def test_undefined_scores_subsets_and_groups(noise, tmp_path):
    scores = [None if i == 0 else float(i % 2) for i in range(ROWS)]
    lines = report([made_up(tmp_path / "full", "full", scores)], tmp_path)
    hard = lines.index("### Rows of `hard`")
    assert lines[hard + 4] == "| full | 0.667 [0.000, 1.000], n = 3 |"
    assert lines[lines.index("### Rows of `none`") + 2] == "None."
    gap = lines[lines.index("### By skin") + 4]
    assert "1.000 [1.000, 1.000], deep over pale, p = 0.000" in gap and "pale 0.000 (n = 19)" in gap


def test_sampled_hands_against_own(noise, tmp_path):
    own = made_up(tmp_path / "full", "full", noise.tolist())
    sampled = made_up(tmp_path / "sampled", "full", (noise - 0.2).tolist(), hands="sampled")
    lines = report([own, sampled], tmp_path)
    assert lines.count("| full | 2.500 [2.000, 3.000], n = 40 |") == 2
    start = lines.index("### Hands sampled by stage 1")
    assert "| full | **-0.200 [-0.200, -0.200]** |" in lines[start:]


def test_differences_on_some_rows(noise, tmp_path):
    scores = noise.clone()
    scores[:4] -= 0.3  # the hard rows
    lines = report(
        [made_up(tmp_path / "text", "text", scores.tolist()), made_up(tmp_path / "full", "full", noise.tolist())],
        tmp_path,
    )
    assert "| text | **-0.300 [-0.300, -0.300]** |" in lines[lines.index("### Rows of `hard`") :]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed is not the same"),
        ({"samples": 3}, "samples is not the same"),
        ({"sampler": {"steps": 50}}, "sampler is not the same"),
        ({"detector": "mediapipe 0.10.21"}, "detector is not the same"),
        ({"rows": 20}, "different numbers of rows"),
        (
            {"arm": {"name": "text", "about": "", "shared": {"seed": 0, "data": "x"}, "steps": 5, "minutes": 1}},
            "training is not",
        ),
        (
            {"arm": {"name": "full", "about": "", "shared": {"seed": 0}, "steps": 5, "minutes": 1}},
            "are of the same arm",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(noise, tmp_path, changes, message):
    folders = [
        made_up(tmp_path / "full", "full", noise.tolist()),
        made_up(tmp_path / "text", "text", noise.tolist(), **changes),
    ]
    with pytest.raises(ValueError, match=message):
        report(folders, tmp_path)


def test_an_arm_trained_again_with_another_seed(noise, tmp_path):
    again = {"name": "full", "about": "", "shared": {"seed": 7}, "steps": 5, "minutes": 1}
    folders = [
        made_up(tmp_path / "again", "full", (noise + 0.25).tolist(), arm=again),
        made_up(tmp_path / "full", "full", noise.tolist()),
        made_up(tmp_path / "text", "text", noise.tolist()),
    ]
    lines = report(folders, tmp_path)
    assert "| full, seed 7 | **+0.250 [+0.250, +0.250]** |" in lines
    assert [line.split(" | ")[0] for line in lines if " | 2.500 " in line] == ["| text", "| full", "| full, seed 7"]


def test_tables_need_no_pictures(noise, tmp_path):
    folder = made_up(tmp_path / "full", "full", noise.tolist())
    with_pictures = report([folder], tmp_path)
    (tmp_path / "report.test.pictures.png").unlink()
    shutil.rmtree(folder / "images")
    without = report([folder], tmp_path)
    shown = [line for line in with_pictures if "report.test.pictures.png" in line]
    assert len(shown) == 1 and [line for line in with_pictures if line not in shown and line] == [
        x for x in without if x
    ]
    assert not (tmp_path / "report.test.pictures.png").exists()


def test_plot_and_grid_show_what_was_measured(tmp_path):
    from arm_report import LABEL_WIDTH, PANEL_WIDTH, draw_grid, draw_plot, read_results

    folders = [made_up(tmp_path / n, n, [v] * ROWS) for n, v in (("text", 0.25), ("full", 0.75))]
    results = read_results(folders, ["text", "full"])
    plot = np.asarray(draw_plot(results, ["quality"])).min(-1) == 0
    left, width = LABEL_WIDTH + 10, PANEL_WIDTH - 40
    for line, value in ((1, 0.25), (2, 0.75)):
        dots = plot[18 * line : 18 * line + 18, left + 2 : left + width - 2].any(0).nonzero()[0]
        assert abs(dots.mean() + 2 - value * width) < 2
    for r in results:
        r["scores"] |= {f"quality {i}": r["scores"]["quality"] for i in range(5)}
    many = np.asarray(draw_plot(results, list(results[0]["scores"]))).min(-1) == 0
    assert many.shape == (2 * len(plot), LABEL_WIDTH + 4 * PANEL_WIDTH)  # six panels
    for top, left in ((0, PANEL_WIDTH), (len(plot), 0)):
        shown = many[top : top + len(plot), left:][20:, LABEL_WIDTH + 12 : LABEL_WIDTH + width - 2]
        assert np.array_equal(shown[:-20], plot[20:-20, LABEL_WIDTH + 12 : LABEL_WIDTH + width - 2])
    grid = np.asarray(draw_grid(results, 3))
    assert grid.shape == (16, LABEL_WIDTH + 24, 3)
    assert [grid[4, LABEL_WIDTH + 8 * i + 4, 0] for i in range(3)] == [0, 2, 4]


def parts(line):
    """The words and the numbers of a line: the last digit of a mean may be another on another processor."""
    number = r"[-+]?\d+\.\d+"
    return re.sub(number, "#", line.replace("**", "")), [float(found) for found in re.findall(number, line)]


def test_the_published_tables_are_those_of_the_published_results():
    from arm_report import _differences, _distances, _table, metrics_of, read_results
    from arms import ARMS

    folder = Path(__file__).parents[2] / "experiments/results"
    published = [parts(line) for line in (folder / "tables.md").read_text(encoding="utf-8").splitlines()]
    results = read_results([path.parent for path in folder.glob("*/results.json")], list(ARMS))
    own = [r for r in results if r["data"] == "test" and r["hands"] == "own"]
    assert {r["arm"]["name"] for r in own} == {*ARMS, "data"}
    full = next(r for r in own if r["label"] == "full")
    metrics = metrics_of(own)
    for line in (*_table(own, metrics), *_differences(own, full, metrics), *_distances(own)):
        words, numbers = parts(line)
        assert any(words == w and numbers == pytest.approx(n, abs=0.0015) for w, n in published), line
