"""Stage 1's training examples: standardised samples and tokens, cached in memory or from a stream."""

from collections.abc import Iterable

import numpy as np
import torch
from accelerate import Accelerator
from transformers import BatchEncoding, PreTrainedTokenizerBase

from ...data.captions import swap_sides
from ...data.dataset import HandDataset
from ...data.rows import HandRow, stack_hand_params
from ...data.stream import HandStream
from ...hands import HandParams
from ...hands.params import choose_hands
from ...models import TextToHandParamsModel
from ..engine.live_captions import LiveCaptions
from ..engine.run import count_training_rows
from ..engine.sentences import read_sentences
from ..engine.sources import StreamReader, open_rows, open_stream
from .loss import Batch, sample_statistics
from .options import HandParamsTrainingOptions

_MIN_DEVIATION = 0.02
"""Values that hardly vary are divided by this."""


def tokenize_with_empty(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> BatchEncoding:
    """Tokens of the texts and, last, of "", padded to the longest of them."""
    return tokenizer(
        [*texts, ""],
        padding="longest",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )


def tokenize_batch(tokenizer: PreTrainedTokenizerBase, texts: list[str], device: torch.device) -> Batch:
    """Tokens and masks of the texts, each (B, N), and of "", each (1, N)."""
    tokens = tokenize_with_empty(tokenizer, texts).to(device)
    return {
        "input_ids": tokens.input_ids[:-1],
        "attention_mask": tokens.attention_mask[:-1],
        "empty_ids": tokens.input_ids[-1:],
        "empty_mask": tokens.attention_mask[-1:],
    }


class CachedHandParams:
    """A data set's rows, with `mirror` also mirrored, as standardised samples and tokens in a device's memory.

    Args:
        hands ([`HandParams`] of N rows), texts (`list[str]`): the rows.
        model ([`TextToHandParamsModel`]): with the statistics.
        tokenizer (`PreTrainedTokenizerBase`): of the text encoder.
        mirror (`bool`): add the mirrored rows.
        captions (`LiveCaptions`, *optional*): writes the texts of every batch; `texts` otherwise.
        device (`torch.device`): of the batches.
    """

    def __init__(
        self,
        hands: HandParams,
        texts: list[str],
        model: TextToHandParamsModel,
        tokenizer: PreTrainedTokenizerBase,
        mirror: bool,
        device: torch.device,
        captions: LiveCaptions | None = None,
    ):
        self.hands, self.texts, self.device, self.captions, self.tokenizer = hands, texts, device, captions, tokenizer
        if mirror:
            hands, texts = HandParams.cat([hands, hands.mirror()]), texts + [swap_sides(text) for text in texts]
        tokens = tokenize_with_empty(tokenizer, texts).to(device)
        self.input_ids, self.attention_mask = tokens.input_ids, tokens.attention_mask
        self.samples = model.encode(hands).to(device)
        self.hand_visible = hands.hand_visible.to(device)

    def __len__(self) -> int:
        return len(self.texts)

    def batch(
        self, rows: np.ndarray, mirror: torch.Tensor | None = None, caption_seeds: torch.Tensor | None = None
    ) -> Batch:
        """Samples, visibility, tokens, and those of "", of the rows; mirrored where `mirror` (B,) is true.

        Live captions are written from `caption_seeds` (B,).
        """
        indices = torch.from_numpy(np.asarray(rows)).to(self.device)
        if mirror is not None:
            indices = indices + len(self) * mirror
        if self.captions is not None and caption_seeds is not None:
            texts = [self.captions.write(*which) for which in zip(rows, caption_seeds.tolist(), strict=True)]
            if mirror is not None:
                texts = [swap_sides(text) if flip else text for text, flip in zip(texts, mirror.tolist(), strict=True)]
            tokens = tokenize_batch(self.tokenizer, texts, self.device)
            return {"samples": self.samples[indices], "hand_visible": self.hand_visible[indices], **tokens}
        return {
            "samples": self.samples[indices],
            "hand_visible": self.hand_visible[indices],
            "input_ids": self.input_ids[indices],
            "attention_mask": self.attention_mask[indices],
            "empty_ids": self.input_ids[-1:],
            "empty_mask": self.attention_mask[-1:],
        }


class StreamedHandParams:
    """Rows of a stream, in its order; the position is part of checkpoints.

    Args:
        stream (`HandStream`): endless.
        model ([`TextToHandParamsModel`]): with the statistics, which are copied.
        tokenizer (`PreTrainedTokenizerBase`): of the text encoder.
        accelerator (`Accelerator`): whose checkpoints get the position.
    """

    def __init__(
        self,
        stream: HandStream,
        model: TextToHandParamsModel,
        tokenizer: PreTrainedTokenizerBase,
        accelerator: Accelerator,
    ):
        self.tokenizer, self.device = tokenizer, accelerator.device
        self._model = TextToHandParamsModel.from_config(model.config)  # the other may be sharded or moved
        self._model.set_statistics(model.sample_mean, model.sample_std)
        self._reader = StreamReader(stream, accelerator)

    def batch(
        self, rows: np.ndarray, mirror: torch.Tensor | None = None, caption_seeds: torch.Tensor | None = None
    ) -> Batch:
        """As that of `CachedHandParams`, of the next `len(rows)` rows, whatever their numbers."""
        hands, texts = _stack(self._reader.take(len(rows)))
        if mirror is not None:
            mirror = mirror.cpu()
            hands = choose_hands(mirror, hands.mirror(), hands)
            texts = [swap_sides(text) if flip else text for text, flip in zip(texts, mirror, strict=True)]
        return {
            "samples": self._model.encode(hands).to(self.device),
            "hand_visible": hands.hand_visible.to(self.device),
            **tokenize_batch(self.tokenizer, texts, self.device),
        }


def open_hand_params(
    options: HandParamsTrainingOptions,
    dataset: HandDataset | None,
    model: TextToHandParamsModel,
    tokenizer: PreTrainedTokenizerBase,
    accelerator: Accelerator,
) -> tuple[CachedHandParams | StreamedHandParams, int | None, CachedHandParams | None]:
    """(Training examples, how many rows there are or None for a stream, held-out examples or None).

    Without a `dataset`, rows are streamed. Sets the model's statistics from the rows to train on, of a stream from its
    first `--statistics_rows`, unless the weights come from elsewhere. The last rows are held out, or with
    `--validation_split` the first ones of another split.
    """
    data, mirror, held_out, captions = options.data, options.examples.random_flip, None, None
    if data.validation_split is not None:
        other = open_rows(data, split=data.validation_split)
        held_out = (other.hand_params, other.texts)

    def cached(
        hands: HandParams, texts: list[str], mirror: bool, captions: LiveCaptions | None = None
    ) -> CachedHandParams:
        return CachedHandParams(hands, texts, model, tokenizer, mirror, accelerator.device, captions)

    examples: CachedHandParams | StreamedHandParams
    keep_statistics = options.models.init_from is not None
    if dataset is None:
        if not keep_statistics:
            first = first_rows(open_stream(data, options.run.seed, 0, 1), options.examples.statistics_rows)
            _set_statistics(model, _stack(first)[0], mirror)
        stream = open_stream(data, options.run.seed, accelerator.process_index, accelerator.num_processes)
        examples, num_train = StreamedHandParams(stream, model, tokenizer, accelerator), None
    else:
        num_train = len(dataset)
        if held_out is None:
            num_train = count_training_rows(len(dataset), data.num_validation_rows)
            held_out = (dataset.hand_params[num_train:], dataset.texts[num_train:])
        hands = dataset.hand_params[:num_train]
        if not keep_statistics:
            _set_statistics(model, hands, mirror)
        if options.examples.live_captions is not None:
            handless = read_sentences(options.examples.handless_text or [])
            captions = LiveCaptions(dataset.scenes[:num_train], options.examples.live_captions, handless)
        examples = cached(hands, dataset.texts[:num_train], mirror, captions)
    return examples, num_train, cached(*held_out, mirror=False) if held_out is not None and held_out[1] else None


def first_rows(stream: HandStream, count: int) -> list[HandRow]:
    """The first rows of an endless stream, no row twice."""
    taken: list[HandRow] = []
    for row in stream:
        if stream.epoch > 0 or len(taken) == count:
            break
        taken.append(row)
    return taken


def _stack(rows: Iterable[HandRow]) -> tuple[HandParams, list[str]]:
    rows = list(rows)
    return stack_hand_params(rows), [row.text for row in rows]


def _set_statistics(model: TextToHandParamsModel, hands: HandParams, mirror: bool) -> None:
    if mirror:
        hands = HandParams.cat([hands, hands.mirror()])
    model.set_statistics(*sample_statistics(model.encode(hands), _MIN_DEVIATION))
