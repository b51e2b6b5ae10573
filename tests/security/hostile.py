"""Parts of files that are broken, or meant to do harm, and how readers have to refuse them."""

import contextlib
import json
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from valid_files import npz_bytes

from diffusers_handiffuser import (
    HandBodyModel,
    TextHandEncoder,
    TextToHandParamsModel,
)
from diffusers_handiffuser.hands.smplh_file import read_smplh_file

MODELS = {
    "text_to_hand_params": TextToHandParamsModel,
    "text_encoder": TextHandEncoder,
    "body_model": HandBodyModel,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
SOURCE = str(Path(read_smplh_file.__code__.co_filename).parents[2])


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


TOUCH = Call(os.system, "touch canary")


def refused(read, path: Path, reason: str = "") -> None:
    with pytest.raises((ValueError, OSError), match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message and "\n" not in message and len(message) < 1200, message


def change_json(path: Path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def boundaries(content: bytes) -> list[int]:
    """Lengths to cut at: nothing, within the first numbers, at the ends of the header, within and before the last."""
    size = len(content)
    return sorted({0, 1, 7, 8, 9, 64, 128, size // 4, size // 2, size - 22, size - 1} & set(range(size)))


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BROKEN_SAFETENSORS = {
    "header too large": safetensors({"a": FLOAT}, bytes(4), 2**40),
    "header of all memory": safetensors({"a": FLOAT}, bytes(4), 2**64 - 1),
    "header longer than the file": safetensors({"a": FLOAT}, bytes(4), 1000),
    "header that is no JSON": safetensors(b"{'a': 1", bytes(4)),
    "header that is a list": safetensors([FLOAT], bytes(4)),
    "header nested deeply": safetensors(b"[" * 100_000, bytes(4)),
    "overlapping tensors": safetensors({"a": FLOAT, "b": FLOAT}, bytes(4)),
    "a hole between tensors": safetensors({"a": FLOAT, "b": {**FLOAT, "data_offsets": [8, 12]}}, bytes(12)),
    "tensor beyond the end": safetensors({"a": {**FLOAT, "data_offsets": [0, 400], "shape": [100]}}, bytes(4)),
    "tensor that ends before it begins": safetensors({"a": {**FLOAT, "data_offsets": [4, 0]}}, bytes(4)),
    "shape of more than memory": safetensors({"a": {**FLOAT, "shape": [2**40, 2**40]}}, bytes(4)),
    "negative shape": safetensors({"a": {**FLOAT, "shape": [-1]}}, bytes(4)),
    "unknown dtype": safetensors({"a": {**FLOAT, "dtype": "O8"}}, bytes(4)),
    "bytes left over": safetensors({"a": FLOAT}, bytes(4096)),
    "a pickle": pickle.dumps(TOUCH),
    "a zip": npz_bytes({"a": np.zeros(1)}),
}
OTHER_FILES = {
    "empty": b"",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    "web page": b"<!DOCTYPE html><html><head><title>404</title></head></html>\n" * 20,
    "picture in no known format": b"8BPS" + bytes(4096),
    "pickle": pickle.dumps(TOUCH),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(canary) (w) file closefile\n%%EOF\n",
    "nested": b"[" * 200_000,
}


NO_SHARDS = (
    *("evil.bin", "evil.safetensors.bin", "../secret.safetensors", "../../secret.safetensors", "a/b.safetensors"),
    *("/tmp/secret.safetensors", r"..\secret.safetensors", r"C:\secret.safetensors", "C:secret.safetensors", ".."),
    *("", "x.safetensors\0", 3, None, ["x.safetensors"]),
)
"""What an index may not give as the place of a weight."""


def make_index(folder: Path, shard: object, variant: str | None = None) -> Path:
    """Makes shards of a model's weights, the last of which is said to be in `shard`; returns the index."""
    weights = next(folder.glob("*.safetensors"))
    tensors = load_file(weights)
    weights.unlink()
    middle = f".{variant}" if variant else ""
    whole = f"{weights.stem}{middle}-00001-of-00002.safetensors"
    save_file(tensors, folder / whole, {"format": "pt"})
    for place in ("evil.bin", "../secret.safetensors"):
        torch.save(tensors, folder / place)
    places = dict.fromkeys(tensors, whole) | {max(tensors): shard}
    path = folder / f"{weights.stem}.safetensors.index{middle}.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return path


def wrong_indices(folder: Path, variant: str | None = None) -> Iterator[object]:
    """Each of `NO_SHARDS` in turn, once the index of the model in a folder names it."""
    path = make_index(folder, NO_SHARDS[0], variant)
    index = json.loads(path.read_text())
    for shard in NO_SHARDS:
        index["weight_map"][max(index["weight_map"])] = shard
        path.write_text(json.dumps(index))
        yield shard


@contextlib.contextmanager
def naming(case: object) -> Iterator[None]:
    """Says which case of a loop failed."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"with {case!r}")
        raise


def load_model(name: str):
    return MODELS[name].from_pretrained
