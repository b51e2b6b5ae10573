"""What captions say of the studio's scenes: targets, and the heads that read them from the student's states."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from ...data.dataset import HandDataset
from ...hands.skeleton import SIDES
from ...studio import Scene
from ...studio.gestures import GESTURES
from ...studio.scenes import HANDLESS_KINDS, KINDS, TURNS, VIEWS
from ...utils.typing import register_to_config
from ..engine.live_captions import LiveCaptions
from .teacher import mean_pool

_UNSAID = -100
"""Target of what a scene has not; cross-entropy leaves it out."""
_TURNS = ("up", *TURNS)
_KINDS = (*KINDS, *HANDLESS_KINDS)
_WEIGHTS = {"hands": 1.0, "gesture": 2.0, "view": 1.0, "turn": 1.0, "kind": 0.2}
_BY_SIDE = ("gesture", "view", "turn")
_MEAN_WEIGHT = 0.5
"""Of what is read from the mean of the states, beside the first token's."""


class SceneHeads(ModelMixin, ConfigMixin):
    """Linear classifiers of what a caption says, thrown away after the training.

    Args:
        hidden_size (`int`): width of the student's states.
        gestures (`list` of `str`): the names of the gestures.
    """

    @register_to_config
    def __init__(self, hidden_size: int, gestures: Sequence[str]):
        super().__init__()
        self.sizes = {
            "hands": 4,
            "gesture": 2 * len(gestures),
            "view": 2 * len(VIEWS),
            "turn": 2 * len(_TURNS),
            "kind": len(_KINDS),
        }
        self.first = nn.Linear(hidden_size, sum(self.sizes.values()))
        self.mean = nn.Linear(hidden_size, sum(self.sizes.values()))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, C), all classes side by side, read from the first token and from the mean."""
        return torch.stack([self.first(states[:, 0]), self.mean(mean_pool(states, attention_mask))], 1)

    def by_name(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (B, C) as those of what a caption says.

        `"hands"` (B, 4) are none, left, right and both; `"gesture"`, `"view"` and `"turn"` (B, 2, classes) are by
        side; `"kind"` is (B, classes).
        """
        parts = dict(zip(self.sizes, logits.split(list(self.sizes.values()), 1), strict=True))
        return {name: x.unflatten(1, (2, -1)) if name in _BY_SIDE else x for name, x in parts.items()}


def scene_targets(scenes: Sequence[Scene], gestures: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """The classes of the scenes under the names of `SceneHeads`: (B,), by side (B, 2)."""

    def by_side(classify: Any) -> torch.Tensor:
        rows = [[classify(scene, side) if side in scene.gestures else _UNSAID for side in SIDES] for scene in scenes]
        return torch.tensor(rows)

    return {
        "hands": torch.tensor([("left" in scene.gestures) + 2 * ("right" in scene.gestures) for scene in scenes]),
        "gesture": by_side(lambda scene, side: gestures[scene.gestures[side]]),
        "view": by_side(lambda scene, side: VIEWS.index(scene.views[side])),
        "turn": by_side(lambda scene, side: _TURNS.index(scene.turn_of(side))),
        "kind": torch.tensor([_KINDS.index(scene.kind) for scene in scenes]),
    }


def scene_loss(
    logits: Sequence[Mapping[str, torch.Tensor]], targets: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """`"scene"`, the weighted sum of the cross-entropies of both readings, and `"gesture"`, the first token's."""

    def entropy(part: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
        chosen = targets[name].flatten()
        if not (chosen != _UNSAID).any():
            return part[name].sum() * 0
        return functional.cross_entropy(part[name].flatten(0, -2), chosen, ignore_index=_UNSAID)

    first, mean = (
        torch.stack([weight * entropy(part, name) for name, weight in _WEIGHTS.items()]).sum() for part in logits
    )
    return {"scene": first + _MEAN_WEIGHT * mean, "gesture": entropy(logits[0], "gesture").detach()}


def scene_accuracies(logits: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The part of the captions, or of the hands, whose classes are read right; NaN where there are none."""
    accuracies = {}
    for name, wanted in targets.items():
        said = wanted != _UNSAID
        accuracies[f"{name}_accuracy"] = (logits[name].argmax(-1) == wanted)[said].float().mean().item()
    return accuracies


class SceneCaptions:
    """Batches of captions of the studio's scenes, written anew, with what they say.

    Args:
        folder (`str`): a data set of `handiffuser data make`, of which the scenes are read.
        language (`str`): see `LiveCaptions`.
        tokenizer (`PreTrainedTokenizerFast`): the student's.
        device (`torch.device`): of the batches.
        handless (`Sequence[str]`): see `LiveCaptions`.
    """

    def __init__(
        self,
        folder: str | Path,
        language: str,
        tokenizer: PreTrainedTokenizerFast,
        device: torch.device,
        handless: Sequence[str] = (),
    ):
        self.captions = LiveCaptions(HandDataset(folder).scenes, language, handless, "--scenes")
        self.tokenizer, self.device = tokenizer, device
        found = {name for scene in self.captions.scenes for name in scene.gestures.values()}
        self.gestures = sorted(found | set(GESTURES))
        self._numbers = {name: number for number, name in enumerate(self.gestures)}

    def batch(self, seed: int, size: int) -> dict[str, Any]:
        """`input_ids` and `attention_mask` (B, L), and `targets`, of `size` scenes that the seed chooses."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(self.captions.scenes), (size,), generator=generator).tolist()
        seeds = torch.randint(2**62, (size,), generator=generator).tolist()
        texts = [self.captions.write(*which) for which in zip(rows, seeds, strict=True)]
        limit = self.tokenizer.model_max_length
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        targets = scene_targets([self.captions.scenes[row] for row in rows], self._numbers)
        return {
            "input_ids": tokens.input_ids.to(self.device),
            "attention_mask": tokens.attention_mask.to(self.device),
            "targets": {name: value.to(self.device) for name, value in targets.items()},
        }
