"""Pieces of stage 1's sampling loop: how it reads the text, draws its noise and judges a scheduler."""

import contextlib
import copy
import inspect
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .prompt_weights import without_weights

Generators = torch.Generator | list[torch.Generator] | None


def encode_text_for_hands(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, texts: list[str], device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """The text as stage 1 sees it: without weights, see `prompt_weights`.

    Texts are padded to CLIP's full length, so that a row does not depend on the others; the padding is masked. Too
    long a text is cut.

    Returns:
        `tuple`: states `(B, L, D)` and mask `(B, L)`, 1 where a token counts.
    """
    length = text_encoder.config.max_position_embeddings
    texts = [without_weights(text) for text in texts]
    tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").to(device)
    states = text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    return states, tokens.attention_mask


def draw_row_noise(
    generator: Generators, rows: int, size: int, device: torch.device
) -> tuple[torch.Tensor, list[torch.Generator] | None]:
    """The noise of stage 1, row by row, so that a row does not depend on the rows behind it.

    From its generator a row takes its initial noise and then a seed, which starts a generator of its own for
    schedulers that draw noise in every step.

    Args:
        generator (`torch.Generator`, `list[torch.Generator]` or `None`): for all rows, for each row, or the global
            one.
        rows, size (`int`): the shape of the noise.
        device (`torch.device`): where it is wanted.

    Returns:
        `tuple`: noise `(rows, size)`, float32, and the rows' generators (`None` if `generator` is).
    """
    noise, step_generators = [], []
    for source in generator if isinstance(generator, list) else [generator] * rows:
        noise.append(randn_tensor((1, size), generator=source, device=device, dtype=torch.float32))
        if source is not None:
            seed = int(torch.randint(2**62, (1,), generator=source, device=source.device))
            step_generators.append(torch.Generator(source.device).manual_seed(seed))
    return torch.cat(noise), step_generators or None


def clone_generators(generator: Generators) -> Generators:
    """Generators in the same state that advance on their own; one that stands twice in a list stays one."""
    if generator is None:
        return None
    originals = generator if isinstance(generator, list) else [generator]
    clones = {}
    for original in originals:
        if id(original) not in clones:
            clones[id(original)] = torch.Generator(original.device)
            clones[id(original)].set_state(original.get_state())
    return [clones[id(original)] for original in originals] if isinstance(generator, list) else clones[id(generator)]


def check_sample_prediction(scheduler: Any) -> None:
    """Refuses, by name, a scheduler that cannot take predictions of the clean sample.

    A config is no proof: some schedulers accept `prediction_type="sample"` and fail in `step`, so a copy takes one
    step; and `from_config` keeps the entry for schedulers that do not know it.
    """
    name = type(scheduler).__name__
    knows = "prediction_type" in inspect.signature(type(scheduler).__init__).parameters
    prediction_type = getattr(scheduler.config, "prediction_type", None) if knows else None
    if prediction_type != "sample":
        raise ValueError(
            f"`text_to_hand_scheduler` must have prediction_type='sample', got {name} with {prediction_type!r}."
        )
    trial, sample = copy.deepcopy(scheduler), torch.zeros(1, 8)
    generator = {"generator": torch.Generator()} if accepts_generator(trial) else {}
    # Even to put it back is to disturb the random state of other threads, so it is left alone where it can be.
    random_state = contextlib.nullcontext() if generator else torch.random.fork_rng(devices=[])
    try:
        with random_state:
            trial.set_timesteps(4)
            t = trial.timesteps[0]
            trial.step(sample, t, trial.scale_model_input(sample, t), **generator)
    except (NotImplementedError, ValueError):
        raise ValueError(
            f"`text_to_hand_scheduler` must be able to step from a predicted sample, but {name} has no such branch."
        ) from None


def accepts_generator(scheduler: Any) -> bool:
    """Whether the scheduler's steps may draw noise."""
    return "generator" in inspect.signature(scheduler.step).parameters
