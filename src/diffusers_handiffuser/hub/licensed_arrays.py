"""Recognises arrays of licensed body models (SMPL, SMPL-H, SMPL-X, MANO) by shape, name and file name.

Arrays that equal one of the procedural body's are free.
"""

import functools
import itertools
import math
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from .free_bodies import FREE_BODIES
from .unpacking import Blob

MAX_ARRAY_BYTES = 2**27


class _Body(NamedTuple):
    num_vertices: int
    num_faces: int
    num_joints: tuple[int, ...]


_BODIES = {
    "SMPL or SMPL-H": _Body(6890, 13776, (24, 52)),
    "SMPL-X": _Body(10475, 20908, (55,)),
    "MANO": _Body(778, 1538, (16,)),
}
NUMBERS_OF_VERTICES = tuple(body.num_vertices for body in _BODIES.values())
_DIRECTIONS = {*(10, 16, 20, 300, 400), *(9 * (joints - 1) for body in _BODIES.values() for joints in body.num_joints)}
"""Usual numbers of shape and pose directions."""

_FILE_NAMES = ("v_template", "shapedirs", "posedirs", "J_regressor")
_MODEL_NAMES = ("template", "shape_directions")
"""Names of arrays in an SMPL-H file, and in a `HandBodyModel`."""
NAMES = (*_FILE_NAMES, *_MODEL_NAMES)
_NAME = re.compile(rf"(?:(?:^|[^A-Za-z0-9])({'|'.join(_FILE_NAMES)})|(?:^|[./])({'|'.join(_MODEL_NAMES)}))$")

_FILE_OF_A_BODY = re.compile(r"(^|[^a-z])(smpl|mano)(h|x|\+h)?($|[^a-z])", re.IGNORECASE)
_ARRAY_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy", ".pkl", ".pickle"),
    *(".msgpack", ".h5", ".hdf5"),
)


def is_array_file(name: str) -> bool:
    """Whether a file holds arrays, by its suffix."""
    return PurePosixPath(name).suffix.lower() in _ARRAY_SUFFIXES


def is_named_as_body(name: str) -> bool:
    """Whether a file of arrays is named like a licensed body: `MANO_RIGHT.pkl`."""
    return is_array_file(name) and _FILE_OF_A_BODY.search(PurePosixPath(name).stem) is not None


def body_of_shape(shape: tuple[int, ...]) -> str | None:
    """The licensed body that has vertices, directions, faces, weights or a regressor of this shape, if any."""
    sizes = tuple(size for size in shape if size != 1)
    for name, (vertices, faces, joints) in _BODIES.items():
        if (vertices, 3) in itertools.pairwise(sizes) or sizes == (3, vertices):
            return name
        if sizes in ((faces, 3), (3, faces)):
            return name
        if len(sizes) == 2:
            for one, other in (sizes, sizes[::-1]):
                if (one == vertices and other in joints) or (one == 3 * vertices and other in _DIRECTIONS):
                    return name
    return None


def array_of_name(name: str) -> str | None:
    """The entry of `NAMES` that a name ends with, whatever its prefix."""
    match = _NAME.search(name)
    return match and (match[1] or match[2])


def names_of_a_body(names: Collection[str], latest: str) -> list[str]:
    """The `names` that indicate a body together with the `latest`; empty if it is the only one."""
    group = _FILE_NAMES if latest in _FILE_NAMES else _MODEL_NAMES
    together = [name for name in group if name in names]
    return together if len(together) > 1 else []


def is_free(shape: tuple[int, ...], content: Blob) -> bool:
    """Whether an array is zero or equals one of the procedural body's, at any precision."""
    number = math.prod(shape)
    if number == 0:
        return True
    if content.num_bytes % number or not 0 < content.num_bytes <= MAX_ARRAY_BYTES:
        return False
    data = content.read()
    if not np.frombuffer(data, np.uint8).any():
        return len(data) == content.num_bytes
    sizes = tuple(size for size in shape if size != 1)
    return any(array.shape == sizes and data in _encodings(array, len(data) // number) for array in _free_arrays())


def _encodings(array: np.ndarray, item_bytes: int) -> list[bytes]:
    codes = {2: ("<f2",), 4: ("<f4", "<i4"), 8: ("<f8", "<i8")}.get(item_bytes, ())
    encodings = [array.astype(code).tobytes() for code in codes]
    if item_bytes == 2:
        encodings.append(torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    return encodings


@functools.cache
def _free_arrays() -> list[np.ndarray]:
    return [array for body in FREE_BODIES.values() for array in body.load_arrays().values()]
