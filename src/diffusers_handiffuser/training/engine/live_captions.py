"""Captions of studio rows, written anew whenever a row is trained on."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...studio import Scene, describe, natural_caption
from ...studio.language.collected import collected_caption
from ...utils.messages import reason_of

_COLLECTED = 0.4
"""Part of the natural sentences, where there are collected ones for a scene."""
_GIVEN = 0.5
"""Part of the natural sentences of scenes without hands, where sentences are given."""


class LiveCaptions:
    """Writes a caption for a row from the scene that the studio posed it from.

    Args:
        scenes (`Sequence[Mapping | None]`): the column `scene` of each row.
        language (`str`): `"studio"` for the captions of `studio.describe`, `"natural"` for sentences as people write
            prompts, from the studio's grammar and from its collection, `"both"` for either, equally often.
        handless (`Sequence[str]`): sentences that ask for no hand; half of the natural sentences of scenes without
            hands are some of these.
        option (`str`): of the trainer, for errors.

    Raises:
        ValueError: a row has no scene, or one that the studio cannot have posed.
    """

    def __init__(
        self,
        scenes: Sequence[Mapping[str, Any] | None],
        language: str,
        handless: Sequence[str] = (),
        option: str = "--live_captions",
    ):
        self.scenes, self.handless = [], handless
        for row, scene in enumerate(scenes):
            if scene is None:
                raise ValueError(f"{option} needs the column `scene` of `handiffuser data make`; row {row} has none")
            try:
                self.scenes.append(Scene(**scene))
            except (TypeError, ValueError) as error:
                raise ValueError(f"row {row}: `scene` is not one of the studio's: {reason_of(error)}") from error
        self.language = language

    def write(self, row: int, seed: int) -> str:
        """A caption for a row; the same for the same seed."""
        rng, scene = random.Random(seed), self.scenes[row]
        natural = rng.random() < {"studio": 0.0, "natural": 1.0, "both": 0.5}[self.language]
        if not natural:
            return describe(scene, rng)
        if self.handless and not scene.gestures and rng.random() < _GIVEN:
            return rng.choice(self.handless)
        collected = collected_caption(scene, rng) if rng.random() < _COLLECTED else None
        return collected or natural_caption(scene, rng)
