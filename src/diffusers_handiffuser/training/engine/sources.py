"""Data sets and streams, as a trainer's options name them."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ...data.dataset import HandDataset, open_dataset
from ...data.rows import HandRow
from ...data.sources import no_such_folder
from ...data.stream import HandStream, stream_dataset
from ...utils.contained_paths import refuse_outside
from .options import DataOptions, StreamingDataOptions


def open_rows(options: DataOptions, need_images: bool = False, split: str | None = None) -> HandDataset:
    """The rows of `--train_split`, or of another split, in any order."""
    return open_dataset(
        _existing(options),
        split=split or options.train_split,
        revision=options.dataset_revision,
        subset=options.dataset_config_name,
        max_rows=options.max_train_samples if split is None else options.num_validation_rows,
        need_images=need_images,
        max_row_bytes=options.max_row_bytes,
    )


def open_stream(
    options: StreamingDataOptions, seed: int, process_index: int, num_processes: int, need_images: bool = False
) -> HandStream:
    """The rows of `--train_split` from front to back, again and again: this process' share."""
    return stream_dataset(
        _existing(options),
        split=options.train_split,
        revision=options.dataset_revision,
        subset=options.dataset_config_name,
        process_index=process_index,
        num_processes=num_processes,
        shuffle_buffer=options.shuffle_buffer,
        seed=seed,
        repeat=True,
        need_images=need_images,
        max_row_bytes=options.max_row_bytes,
    )


class StreamReader:
    """Reads rows of a stream in its order; the position is saved in checkpoints.

    Args:
        stream (`HandStream`): endless.
        accelerator (`Accelerator`): its checkpoints hold the position.
        prepare (`Callable`): applied to each row as soon as it is read.
        read_ahead (`bool`): when rows are taken, read as many more.
    """

    def __init__(
        self,
        stream: HandStream,
        accelerator: Accelerator,
        prepare: Callable[[HandRow], Any] = lambda row: row,
        read_ahead: bool = False,
    ):
        self.stream, self.prepare, self.read_ahead = stream, prepare, read_ahead
        self.name = f"stream-{accelerator.process_index}.json"
        self._restart()
        accelerator.register_save_state_pre_hook(self._save)
        accelerator.register_load_state_pre_hook(self._load)

    def take(self, count: int) -> list[Any]:
        """The next rows, prepared."""
        while len(self._waiting) < count * (1 + self.read_ahead):
            row = self.prepare(next(self._iterator))
            self._waiting.append((row, self.stream.state_dict()))
        taken = [self._waiting.popleft() for _ in range(count)]
        self._position = taken[-1][1]
        return [row for row, _ in taken]

    def _restart(self) -> None:
        self._position = self.stream.state_dict()
        self._iterator: Iterator = iter(self.stream)
        self._waiting: deque = deque()

    def _save(self, objectives: list, weights: list, folder: str) -> None:
        (Path(folder) / self.name).write_text(json.dumps(self._position))

    def _load(self, objectives: list, folder: str) -> None:
        path = Path(folder) / self.name
        if not path.is_file():
            raise ValueError(
                f"`resume_from_checkpoint`: {path} is missing; a stream needs as many processes as before"
            )
        self.stream.load_state_dict(json.loads(path.read_text()))
        self._restart()


def _existing(options: DataOptions) -> str:
    """The name of the data set; refuses a `--train_data_dir` that there is not, of which the Hub is not asked."""
    if options.dataset_name is None and (absent := no_such_folder(options.name)):
        raise FileNotFoundError(f"--train_data_dir: {absent}; --dataset_name is for data sets on the Hub")
    return options.name


def cache_folder(options: DataOptions, output_dir: str) -> Path:
    """Folder of the caches of images, latents and geometry."""
    if options.cache_dir is not None:
        return Path(options.cache_dir)
    folder = Path(options.name)
    if not folder.is_dir():
        return Path(output_dir) / ".cache"
    refuse_outside(folder / ".cache", folder)
    return folder / ".cache"
