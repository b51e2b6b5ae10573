"""Where a trainer's rows come from, as its options say."""

import argparse
from pathlib import Path

from ..data.dataset import HandDataset, open_dataset
from ..data.stream import HandStream, stream_dataset


def data_name(args: argparse.Namespace) -> str:
    """What the data set is called: `--dataset_name`, or else `--train_data_dir`."""
    return args.dataset_name or args.train_data_dir


def open_rows(args: argparse.Namespace, need_images: bool = False, split: str | None = None) -> HandDataset:
    """The rows of `--train_split`, or of another split, in any order."""
    return open_dataset(
        data_name(args),
        split=split or args.train_split,
        revision=args.dataset_revision,
        subset=args.dataset_config_name,
        max_rows=args.max_train_samples if split is None else args.num_validation_rows,
        need_images=need_images,
    )


def open_stream(args: argparse.Namespace, process_index: int, num_processes: int) -> HandStream:
    """The rows of `--train_split` with their pictures from front to back, again and again: this process' share."""
    return stream_dataset(
        data_name(args),
        split=args.train_split,
        revision=args.dataset_revision,
        subset=args.dataset_config_name,
        process_index=process_index,
        num_processes=num_processes,
        shuffle_buffer=args.shuffle_buffer,
        seed=args.seed,
        repeat=True,
        need_images=True,
    )


def cache_folder(args: argparse.Namespace) -> Path:
    """Where what is computed from the rows is kept."""
    if args.cache_dir is not None:
        return Path(args.cache_dir)
    folder = Path(data_name(args))
    return (folder if folder.is_dir() else Path(args.output_dir)) / ".cache"
