"""Streaming: data sets of any size, read in order by several processes, with exact resume.

The stream of a process is a function of the seed: the shards are shuffled every epoch, Hugging Face `datasets` splits
the rows among the processes, and a buffer of rows is repeatedly filled, shuffled and emptied. The buffer is emptied
before it is refilled, so the state of the stream is two counters and the position at which the buffer was filled: a
resumed stream continues with the very next row and rereads at most one buffer. (`datasets`' own shuffle buffer is not
part of its state: its rows are lost on resume.)
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.suggestions import suggests_keywords
from .defective import refuse_defect
from .rows import HandRow, RowError, import_datasets, parse_row, require_image
from .sources import MAX_ROW_BYTES, Shard, find_shards


@suggests_keywords
def stream_dataset(
    name_or_path: str | Path,
    split: str = "train",
    revision: str | None = None,
    subset: str | None = None,
    process_index: int = 0,
    num_processes: int = 1,
    shuffle_buffer: int = 0,
    seed: int = 0,
    repeat: bool = False,
    need_images: bool = False,
    *,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> "HandStream":
    """Opens a data set for streaming; rows are downloaded when they are read.

    Args:
        name_or_path (`str` or `Path`): see `find_shards`.
        split (`str`): see `find_shards`.
        revision (`str`, *optional*): see `find_shards`.
        subset (`str`, *optional*): see `find_shards`.
        process_index (`int`): this process, as `accelerate` numbers them.
        num_processes (`int`): the number of processes that share the data: whole shards if the number of shards is a
            multiple of it, else single rows.
        shuffle_buffer (`int`): number of rows that are shuffled together; 0 keeps the order of the files.
        seed (`int`): seed of the shuffling; the same in all processes.
        repeat (`bool`): continue with the next epoch, endlessly.
        need_images (`bool`): refuse rows without an image, or whose image is defective on purpose.
        max_row_bytes (`int`): see `find_shards`.

    Returns:
        [`HandStream`]: an iterable of [`HandRow`]s.
    """
    import_datasets("streaming")
    if not 0 <= process_index < num_processes:
        raise ValueError(f"`process_index` must be from 0 to {num_processes - 1}, got {process_index}.")
    if shuffle_buffer < 0:
        raise ValueError(f"`shuffle_buffer` must not be negative, got {shuffle_buffer}.")
    shards = find_shards(name_or_path, split, revision, subset, max_row_bytes=max_row_bytes)
    return HandStream(shards, process_index, num_processes, shuffle_buffer, seed, repeat, need_images)


class HandStream(torch.utils.data.IterableDataset):
    """Iterates over the rows of a data set, see `stream_dataset`.

    Iteration continues from the current position; at the end, or after `set_epoch`, that is the start of an epoch. A
    bad row raises a `RowError` that names the file, row and column. Images are not decoded: call
    `row.picture.square(512)`.

    The workers of a `DataLoader` split the shards among them; the position is then not known in this process.
    """

    def __init__(
        self,
        shards: list[Shard],
        process_index: int,
        num_processes: int,
        shuffle_buffer: int,
        seed: int,
        repeat: bool,
        need_images: bool,
    ):
        super().__init__()
        self.shards, self.shuffle_buffer, self.seed = shards, shuffle_buffer, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.repeat, self.need_images = repeat, need_images
        self.set_epoch(0)

    @property
    def epoch(self) -> int:
        return self._position["epoch"]

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch."""
        self._position: dict[str, Any] = {"epoch": epoch, "buffer": 0, "taken": 0, "rows": None}

    def state_dict(self) -> dict[str, Any]:
        """The position after the last row that was yielded, ready for JSON."""
        return {**self._position, "sharing": self._sharing()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Moves to the position of a stream with the same data, processes, buffer and seed."""
        missing = {"sharing", *self._position} - set(state)
        if missing:
            raise ValueError(f"`state` is not the state of a stream: it lacks {sorted(missing)}.")
        if state["sharing"] != self._sharing():
            raise ValueError(f"`state` is of another stream: {state['sharing']}, but this is {self._sharing()}.")
        self._position = {name: state[name] for name in self._position}

    def __iter__(self) -> Iterator[HandRow]:
        while True:
            position = dict(self._position)
            dataset = self._open_epoch(position["epoch"])
            if position["rows"] is not None:
                dataset.load_state_dict(position["rows"])
            rows, empty = iter(dataset), True
            while buffer := list(islice(rows, max(1, self.shuffle_buffer))):
                empty = False
                after = dataset.state_dict()
                for place in self._order(position, len(buffer))[position["taken"] :]:
                    position["taken"] += 1
                    self._position = dict(position)
                    yield self._parse(buffer[place]["row"])
                position = {"epoch": position["epoch"], "buffer": position["buffer"] + 1, "taken": 0, "rows": after}
            if empty and position["buffer"] == 0:
                if torch.utils.data.get_worker_info() is not None:
                    return  # more workers than shards
                raise ValueError(f"{self.shards[0].path} holds no row for process {self.process_index}")
            self.set_epoch(position["epoch"] + 1)
            if not self.repeat:
                return

    def _open_epoch(self, epoch: int) -> Any:
        datasets = import_datasets("streaming")
        from datasets.distributed import split_dataset_by_node

        shards = list(self.shards)
        if self.shuffle_buffer:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(shards))
            shards = [shards[place] for place in order]
        dataset = datasets.IterableDataset.from_generator(_raw_rows, gen_kwargs={"shards": shards})
        if self.num_processes == 1:
            return dataset
        return split_dataset_by_node(dataset, self.process_index, self.num_processes)

    def _order(self, position: dict, size: int) -> list[int]:
        if not self.shuffle_buffer:
            return list(range(size))
        key = [self.seed, position["epoch"], self.process_index, position["buffer"]]
        return np.random.default_rng(key).permutation(size).tolist()

    def _parse(self, raw: tuple) -> HandRow:
        where, value, folder, _ = raw
        if isinstance(value, RowError):
            raise value
        row = parse_row(value, where, folder)
        if self.need_images:
            refuse_defect(row.columns, where)
            require_image(row.picture, where)
        return row

    def _sharing(self) -> dict[str, Any]:
        return {
            "shards": len(self.shards),
            "process": [self.process_index, self.num_processes],
            "shuffle_buffer": self.shuffle_buffer,
            "seed": self.seed,
        }


def _raw_rows(shards: list[Shard]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        for raw in shard.rows():
            yield {"row": raw}
