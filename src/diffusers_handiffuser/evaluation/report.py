"""The result of an evaluation, and its report."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..utils.atomic_files import atomic_write
from ..utils.versions import installed_versions
from .metrics.estimates import Estimate

REPORT_FILE, TABLE_FILE, CASES_FILE, GRID_FILE = "report.json", "report.md", "cases.json", "grid.png"

_LOWER_IS_BETTER = ("fid", "kid", "parameter_fid", "joint_error", "extra_hands", "finger_error", "limit_violations")
_PACKAGES = ("diffusers_handiffuser", "torch", "diffusers", "transformers", "numpy")


@dataclass
class Evaluation:
    """The result of `evaluate`.

    Args:
        estimates (`dict`): [`Estimate`] by section and metric: `estimates["detector"]["detected"]`.
        absent (`dict[str, str]`): metrics that could not be measured, with the reason.
        settings (`dict`): arguments and networks.
        versions (`dict`): of the libraries.
        cases (`dict[str, list]`): each row's score by `"section/metric"`, None where it has none, in the order of the
            rows: metrics can be split by properties of the rows, and two evaluations compared row by row.
        features (`dict`): features `(N, D)` and the row `(N,)` of each, under `"pictures"`, `"hands"`, `"parameters"`.
        grid (`PIL.Image.Image`, *optional*): images of the first rows, each also with the skeletons of its hands.
    """

    estimates: dict[str, dict[str, Estimate]]
    absent: dict[str, str]
    settings: dict[str, Any]
    versions: dict[str, str]
    cases: dict[str, list[float | None]]
    features: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    grid: Image.Image | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all but the cases, the features and the grid."""
        estimates = {
            section: {name: _finite(estimate.to_dict()) for name, estimate in metrics.items()}
            for section, metrics in self.estimates.items()
        }
        return {
            "estimates": estimates,
            "absent": self.absent,
            "settings": self.settings,
            "versions": self.versions,
        }

    def to_markdown(self) -> str:
        """A table of all estimates, followed by notes on how they were measured."""
        lines = ["| metric | value | 95 % interval | n | |", "| --- | --- | --- | --- | --- |"]
        for section, metrics in self.estimates.items():
            for name, estimate in metrics.items():
                better = "lower is better" if name.removesuffix("_hands") in _LOWER_IS_BETTER else ""
                digits = 5 if name.startswith("kid") else 3
                value, low, high = (f"{x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high))
                lines.append(f"| {section}: {name} | {value} | {low} to {high} | {estimate.n} | {better} |")
        notes = ["Intervals: bootstrap over captions; n counts captions, of FID and KID the smaller set's rows."]
        notes += [f"Not measured: {name}: {reason}." for name, reason in self.absent.items()]
        notes += [f"{name}: {value}" for name, value in self.settings.items() if value is not None]
        notes += [f"{name} {number}" for name, number in self.versions.items()]
        return "\n".join([*lines, "", *(f"* {note}" for note in notes)]) + "\n"

    def write(self, folder: str | Path) -> list[Path]:
        """Writes `report.json`, `report.md`, `cases.json` and, if there is one, `grid.png`; the folder is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            REPORT_FILE: json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n",
            TABLE_FILE: self.to_markdown(),
            CASES_FILE: json.dumps(self.cases, allow_nan=False) + "\n",
        }
        for name, text in texts.items():
            with atomic_write(folder / name) as path:
                path.write_text(text, encoding="utf-8")
        paths = [folder / name for name in texts]
        if self.grid is not None:
            with atomic_write(folder / GRID_FILE) as path:
                self.grid.save(path)
            paths.append(folder / GRID_FILE)
        return paths


def by_section(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, Estimate]]:
    """Estimates under `"section/metric"` by section, then by metric."""
    sections: dict[str, dict[str, Estimate]] = {}
    for name, estimate in estimates.items():
        section, _, metric = name.partition("/")
        sections.setdefault(section, {})[metric] = estimate
    return sections


def measured_versions() -> dict[str, str]:
    """Of Python and of the packages that the numbers depend on."""
    versions = dict.fromkeys(_PACKAGES, "not installed") | installed_versions(_PACKAGES)
    return {"python": platform.python_version()} | versions


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
