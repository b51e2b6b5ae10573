"""Stage 1: hands from text, by a diffusion over `HandParams`. `sample_hands` is the whole of it."""

import contextlib
import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..hands import HandParams
from ..models import TextHandEncoder, TextToHandParamsModel
from ..models.text_models import text_length, text_states
from ..models.text_to_hand_params import SAMPLE_SIZE
from .inputs import check_finite_tensor
from .one_thread import SHARED_STATE_LOCK
from .prompt_weights import without_weights

Generators = torch.Generator | list[torch.Generator] | None


def sample_hands(
    prompts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    text_encoder: PreTrainedModel | TextHandEncoder,
    model: TextToHandParamsModel,
    scheduler: Any,
    num_inference_steps: int,
    guidance_scale: float,
    generator: Generators = None,
    device: torch.device | str = "cpu",
    on_step_end: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    progress_bar: Callable[..., contextlib.AbstractContextManager[Any]] | None = None,
) -> HandParams:
    """Samples one row of hands per prompt, in float32 except inside the model.

    Args:
        prompts (`list[str]`): B texts.
        tokenizer (`CLIPTokenizer`): `hand_tokenizer` of a pipeline.
        text_encoder (`CLIPTextModel` or [`TextHandEncoder`]): `hand_text_encoder` of a pipeline.
        model ([`TextToHandParamsModel`]): predicts the clean sample.
        scheduler (`SchedulerMixin`): `text_to_hand_scheduler` of a pipeline; steps from a predicted clean sample. Its
            timesteps are set; the steps are those of a copy, so that several threads may share it.
        num_inference_steps (`int`): denoising steps.
        guidance_scale (`float`): classifier-free guidance, off at 1 and below.
        generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one for all rows, or one per row.
        device (`torch.device` or `str`): that of the models.
        on_step_end (`Callable`, *optional*): called as `on_step_end(step, timestep, sample)` after every step with
            the standardised sample `(B, 327)`; returns the sample to go on with.
        interrupted (`Callable`): asked before every step; `True` ends the sampling.
        progress_bar (`Callable`, *optional*): opened as `progress_bar(total=steps)`, such as `tqdm.tqdm`.

    Returns:
        `HandParams` of batch shape `(B,)`, on the CPU.

    Raises:
        ValueError: the scheduler does not have so many steps, or the sample is not finite.
    """
    guided = guidance_scale > 1
    texts = [""] * len(prompts) + prompts if guided else prompts
    distinct = list(dict.fromkeys(texts))
    states, mask = encode_text_for_hands(tokenizer, text_encoder, distinct, device)
    rows = [distinct.index(text) for text in texts]
    states, mask = states[rows].to(model.dtype), mask[rows]

    try:
        with SHARED_STATE_LOCK:
            timesteps, _ = retrieve_timesteps(scheduler, num_inference_steps, device)
            scheduler = copy.deepcopy(scheduler)
    except ValueError as error:
        raise ValueError(f"`num_hand_inference_steps` does not suit `text_to_hand_scheduler`: {error}") from None
    sample, step_generators = draw_row_noise(generator, len(prompts), SAMPLE_SIZE, device)
    sample = sample * scheduler.init_noise_sigma
    step_kwargs = {"generator": step_generators} if accepts_generator(scheduler) else {}

    with progress_bar(total=len(timesteps)) if progress_bar else contextlib.nullcontext() as bar:
        for i, t in enumerate(timesteps):
            if interrupted():
                break
            model_input = scheduler.scale_model_input(sample, t).to(model.dtype)
            model_input = torch.cat([model_input] * 2) if guided else model_input
            with model.cache_context("hands"):
                clean = model(model_input, t, states, encoder_attention_mask=mask, return_dict=False)[0].float()
            if guided:
                unconditional, conditional = clean.chunk(2)
                clean = unconditional + guidance_scale * (conditional - unconditional)
            sample = scheduler.step(clean, t, sample, **step_kwargs, return_dict=False)[0]
            if on_step_end is not None:
                sample = on_step_end(i, t, sample)
            if bar is not None:
                bar.update()
    check_finite_tensor("The sample of `text_to_hand_params`", sample)
    return model.decode(sample).to("cpu")


def encode_text_for_hands(
    tokenizer: PreTrainedTokenizerBase,
    text_encoder: PreTrainedModel | TextHandEncoder,
    texts: list[str],
    device: torch.device | str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Text states for stage 1. Prompt weights are removed, see `prompt_weights`.

    Texts are padded to the tokenizer's `model_max_length`, so that a row does not depend on the others; the padding is
    masked. Longer texts are truncated.

    Returns:
        `tuple`: states `(B, L, D)` and mask `(B, L)`, 1 where a token counts.

    Raises:
        ValueError: tokenizer and text encoder do not belong together, or the encoder gives no `last_hidden_state`.
    """
    length = text_length(tokenizer, text_encoder)
    texts = [without_weights(text) for text in texts]
    with SHARED_STATE_LOCK:
        tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    tokens = tokens.to(device)
    return text_states(text_encoder, tokens.input_ids, tokens.attention_mask), tokens.attention_mask


def draw_row_noise(
    generator: Generators, rows: int, size: int, device: torch.device | str
) -> tuple[torch.Tensor, list[torch.Generator] | None]:
    """The initial noise of stage 1, drawn row by row, so that a row does not depend on the rows after it.

    Each row draws its noise and then a seed; the seed starts a generator of the row's own, for schedulers that draw
    noise in every step.

    Args:
        generator (`torch.Generator`, `list[torch.Generator]` or `None`): one for all rows, one per row, or the global
            one.
        rows (`int`): number of rows.
        size (`int`): numbers in a row.
        device (`torch.device` or `str`): of the noise.

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
    """Copies of generators, in the same state; one that is listed twice becomes one copy, listed twice."""
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
    """Refuses a scheduler that cannot take predictions of the clean sample.

    The config alone does not tell: some schedulers accept `prediction_type="sample"` and fail in `step`, so a copy
    takes one step; and `from_config` keeps the entry for schedulers that do not know it.
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
    # Saving and restoring the global random state would disturb other threads, so only where it is needed.
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
