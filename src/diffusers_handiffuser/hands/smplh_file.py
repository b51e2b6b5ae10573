"""Reads SMPL-H files, official or not, without executing anything in them.

The official `.pkl` files are Python 2 pickles of numpy, scipy.sparse and chumpy objects. Unpickling calls whatever the
file names, so `pickle.load` on a downloaded file can run code, and chumpy does not import on current Pythons. Here the
names that a body file may use map to inert stand-ins that only record their arguments. The needed arrays are then
computed in numpy, each checked for size before memory is allocated. `.npz` files are read member by member with the
same checks, never with `allow_pickle`.
"""

import io
import math
import os
import pickle
import pickletools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.messages import reason_of
from .npz_file import array_bytes, read_npz
from .skeleton import NUM_JOINTS, PARENTS

_SHAPES = {
    "v_template": ("V", 3),
    "shapedirs": ("V", 3, "B"),
    "posedirs": ("V", 3, 9 * (NUM_JOINTS - 1)),
    "J_regressor": (NUM_JOINTS, "V"),
    "weights": ("V", NUM_JOINTS),
    "f": ("F", 3),
    "kintree_table": (2, NUM_JOINTS),
}
_HAND_SHAPES = {"mean": (45,), "components": (45, 45)}
_HAND_KEYS = tuple(f"hands_{kind}{side}" for kind in _HAND_SHAPES for side in "lr")

_MAX_FILE_BYTES = 2**30
_MAX_ARRAY_BYTES = 2**28
_MAX_BYTES = 2**29
_MAX_PICKLE_OPCODES = 20_000
_MAX_TUPLES = 4_000
_MAX_INTEGER = 2**63
_MAX_EXPRESSION_DEPTH = 8
_GENDERS = ("neutral", "female", "male")


def find_smplh_file(path: str | os.PathLike, gender: str = "neutral") -> Path:
    """Finds the SMPL-H file at a path.

    Args:
        path (`str` or `os.PathLike`): a file, or a folder that holds one under a usual name: smplx's
            `smplh/SMPLH_NEUTRAL.npz` (or `.pkl`), AMASS's `smplh/neutral/model.npz`, with or without the first folder.
        gender (`str`): `"neutral"`, `"female"` or `"male"`.

    Raises:
        FileNotFoundError: there is none; the message names a file of another gender that is there.
        ValueError: there is no such gender.
    """
    path = Path(path)
    if gender not in _GENDERS:
        raise ValueError(f'`gender` must be "neutral", "female" or "male", got {gender!r}.')
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"No SMPL-H file at {path}: there is no such file or folder.")
    names = _file_names(gender)
    if found := _first_file(path, [*names, "model.npz"]):
        return found
    hints = (
        f" There is {str(found.relative_to(path))!r}: pass `gender={other!r}`, or this file as the path."
        for other in _GENDERS
        if (found := _first_file(path, _file_names(other)))
    )
    raise FileNotFoundError(
        f"No SMPL-H file in {path}: looked for {', '.join([*names, 'model.npz'])}, also in smplh/ and models/."
        + next(hints, "")
    )


def _file_names(gender: str) -> list[str]:
    names = [f"SMPLH_{g}.{suffix}" for g in (gender.upper(), gender) for suffix in ("npz", "pkl")]
    return names + [f"{gender}/model.{suffix}" for suffix in ("npz", "pkl")]


def _first_file(path: Path, names: Iterable[str]) -> Path | None:
    folders = ("", "smplh", "models", "models/smplh", "body_models/smplh")
    return next((file for folder in folders for name in names if (file := path / folder / name).is_file()), None)


def read_smplh_file(
    path: str | os.PathLike, mano_left: str | os.PathLike | None = None, mano_right: str | os.PathLike | None = None
) -> dict[str, np.ndarray]:
    """Reads and checks an SMPL-H file.

    Args:
        path (`str` or `os.PathLike`): a `.npz` or `.pkl` file.
        mano_left (`str` or `os.PathLike`, *optional*): MANO file with the left hand's mean and components.
        mano_right (`str` or `os.PathLike`, *optional*): the same for the right hand.

    Returns:
        `dict[str, np.ndarray]`: SMPL-H's own names: `v_template`, `shapedirs`, `posedirs`, `J_regressor` (dense) and
        `weights` in float32, `f` and `kintree_table` in int32, and for each hand `hands_mean*` and `hands_components*`
        (zeros and the identity where no file gives them).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a body file, damaged, too large, or has contents that do not belong in one.
    """
    arrays = _read_arrays(path, _SHAPES, _HAND_KEYS)
    for side, mano in (("l", mano_left), ("r", mano_right)):
        if mano is not None:
            hand = _read_arrays(mano, ("hands_mean", "hands_components"), ())
            arrays.update({f"{name}{side}": array for name, array in hand.items()})
    try:
        return _checked(arrays)
    except ValueError as error:
        raise ValueError(f"Cannot read a body from {path}: {error}.") from None


def _read_arrays(path: str | os.PathLike, needed: Iterable[str], optional: Iterable[str]) -> dict[str, np.ndarray]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Cannot read a body from {path}: there is no such file.")
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ValueError(f"the file has {size} bytes, more than any body file")
        if path.suffix == ".npz":
            arrays = read_npz(path, (*needed, *optional), _MAX_ARRAY_BYTES, _MAX_BYTES)
        elif path.suffix == ".pkl":
            arrays = _read_pickle(path, (*needed, *optional))
        else:
            raise ValueError("the name must end in .npz or .pkl")
        for name in needed:
            if name not in arrays:
                raise ValueError(f"it has no {name!r}")
        return arrays
    except (ValueError, OSError, MemoryError) as error:
        raise ValueError(f"Cannot read a body from {path}: {reason_of(error)}.") from None


def _checked(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes: dict[str | int, int] = {}
    for name, shape in _SHAPES.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and array.dtype.kind in "biuf"
        for expected, size in zip(shape, array.shape, strict=False):
            fits = fits and size == (sizes.setdefault(expected, size) if isinstance(expected, str) else expected)
        if not fits:
            wanted = "(" + ", ".join(str(sizes.get(s, s)) for s in shape) + ")"
            raise ValueError(f"{name!r} must hold numbers in the shape {wanted}, got {array.dtype} {array.shape}")

    checked = {}
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        checked[name] = _finite(name, arrays[name])
    faces = arrays["f"]
    if sizes["F"] == 0 or not ((faces >= 0) & (faces < sizes["V"])).all():
        raise ValueError(f"'f' must hold numbers of the {sizes['V']} vertices")
    checked["f"] = np.ascontiguousarray(faces, np.int32)
    parents = [int(parent) for parent in arrays["kintree_table"][0][1:]]
    if parents != list(PARENTS[1:]):
        raise ValueError("'kintree_table' is not the skeleton of SMPL-H")
    checked["kintree_table"] = np.array([PARENTS, range(NUM_JOINTS)], np.int32)
    for kind, shape in _HAND_SHAPES.items():
        for side in "lr":
            name = f"hands_{kind}{side}"
            default = np.zeros(shape) if kind == "mean" else np.eye(45)
            array = arrays.get(name, default)
            if array.size != math.prod(shape) or array.dtype.kind not in "biuf":
                raise ValueError(f"{name!r} must hold numbers in the shape {shape}, got {array.dtype} {array.shape}")
            checked[name] = _finite(name, array.reshape(shape))
    return checked


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} holds numbers that are not finite")
    return array


def _read_pickle(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    try:
        _check_opcodes(data)
        content = _BodyUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _NotABody as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        # Damaged or malicious streams fail in many ways; nothing that they can reach has side effects.
        raise ValueError(f"not a whole pickle ({type(error).__name__}: {reason_of(error)})") from None
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not the dictionary of a body")
    arrays: dict[str, np.ndarray] = {}
    try:
        for name in names:
            if name in content:
                arrays[name] = _evaluate(content[name])
                if sum(array.nbytes for array in arrays.values()) > _MAX_BYTES:
                    raise ValueError(f"its arrays have more than the {_MAX_BYTES} bytes that a body may hold")
        return arrays
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"an array in it is damaged ({type(error).__name__}: {reason_of(error)})") from None


_FOREIGN_OPCODES = (
    *("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST"),
    *("NEXT_BUFFER", "READONLY_BUFFER", "FROZENSET"),
)


class _NotABody(pickle.UnpicklingError):
    """The stream asks for something that no body file contains."""


def _check_opcodes(data: bytes) -> None:
    """Checks the stream's operations without building anything.

    The unpickler trusts declared string lengths and memo numbers, and allocates accordingly; `pickletools` reads only
    strings that exist, and memo numbers are bounded by the number of operations. Deeply nested tuples would overflow
    the stack when hashed, and long integers can be chosen so that a dictionary of them takes quadratic time.
    """
    highest_memo = num_tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data)), start=1):
        if count > _MAX_PICKLE_OPCODES:
            raise _NotABody(f"it has more than {_MAX_PICKLE_OPCODES} pickle operations, more than any body file")
        if opcode.name in _FOREIGN_OPCODES:
            raise _NotABody(f"pickle operation {opcode.name} does not belong in a body file")
        if opcode.name.startswith("TUPLE"):
            num_tuples += 1
            if num_tuples > _MAX_TUPLES:
                raise _NotABody(f"it has more than {_MAX_TUPLES} tuples, more than any body file")
        if type(argument) is int and not -_MAX_INTEGER <= argument <= _MAX_INTEGER:
            raise _NotABody("an integer of more than 64 bits does not belong in a body file")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            highest_memo = max(highest_memo, argument or 0)
    if highest_memo > 2 * _MAX_PICKLE_OPCODES:
        raise _NotABody(f"memo number {highest_memo} does not belong in a body file")


class _StandIn:
    """Replaces an object of the stream: records its arguments and state, and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_StandIn):
    """`numpy.ndarray` as numpy pickles it: state is (version, shape, dtype, is Fortran, bytes)."""


class _Buffer(_StandIn):
    """`numpy.ndarray` as protocol 5 has it: arguments are (bytes, dtype, shape, order)."""


class _Scalar(_StandIn):
    """A numpy scalar: arguments are (dtype, bytes)."""


class _DType(_StandIn):
    """`numpy.dtype`: arguments start with a code such as "f8", the state's second entry is the byte order."""


class _Encoded(_StandIn):
    """Bytes that Python 3 pickled for protocol 2 as text: arguments are (text, "latin1")."""


class _Object(_StandIn):
    """An object of a class of chumpy or scipy.sparse; `library` and `name` say which."""

    library = name = ""


class _Other(_StandIn):
    """A harmless object that a body does not need, such as a set in chumpy's bookkeeping."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Function:
    """A callable of the table that, unlike a function, has no attributes that a stream could set."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., _StandIn]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> _StandIn:
        return self.call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _NotABody("it tries to change a function")


def _reconstruct_object(cls: Any, *_: Any) -> _Object:
    if not (isinstance(cls, type) and issubclass(cls, _Object)):
        raise _NotABody("it builds an object of a class that does not belong in a body file")
    return cls()


class _BodyUnpickler(pickle.Unpickler):
    """An unpickler with a closed table: each name maps to a new stand-in of this module."""

    _TABLE: dict[tuple[str, str], Callable[[], _Function | _Other]] = {
        ("numpy.core.multiarray", "_reconstruct"): lambda: _Function(_Array),
        ("numpy.core.multiarray", "scalar"): lambda: _Function(_Scalar),
        ("numpy.core.numeric", "_frombuffer"): lambda: _Function(_Buffer),
        ("numpy", "ndarray"): _Other,
        ("numpy", "dtype"): lambda: _Function(_DType),
        ("_codecs", "encode"): lambda: _Function(_Encoded),
        ("copyreg", "_reconstructor"): lambda: _Function(_reconstruct_object),
        ("builtins", "object"): _Other,
        ("builtins", "set"): lambda: _Function(_Other),
        ("collections", "OrderedDict"): lambda: _Function(_Other),
    }
    _RENAMED = {"copy_reg": "copyreg", "__builtin__": "builtins"}

    def find_class(self, module: str, name: str) -> Any:
        module = self._RENAMED.get(module, module.replace("numpy._core.", "numpy.core."))
        if (module, name) in self._TABLE:
            return self._TABLE[module, name]()
        library = next((known for known in ("chumpy", "scipy.sparse") if f"{module}.".startswith(f"{known}.")), None)
        if library is None:
            raise _NotABody(f"{module}.{name} does not belong in a body file")
        return type("_Object", (_Object,), {"library": library, "name": name})


def _evaluate(value: Any, depth: int = 0) -> np.ndarray:
    """The array that a stand-in represents."""
    if depth > _MAX_EXPRESSION_DEPTH:
        raise ValueError("it nests array expressions too deeply")
    if isinstance(value, _Array):
        _, shape, dtype, fortran, data = value.state
        return _from_bytes(data, dtype, shape, "F" if fortran else "C")
    if isinstance(value, _Buffer):
        data, dtype, shape, order = value.arguments
        return _from_bytes(data, dtype, shape, "F" if order == "F" else "C")
    if isinstance(value, _Scalar):
        dtype, data = value.arguments
        return _from_bytes(data, dtype, (), "C")
    if isinstance(value, (int, float)):
        return np.array(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, (int, float)) for item in value):
        return np.array(value)
    if isinstance(value, _Object):
        state = value.state
        if isinstance(state, tuple) and len(state) == 2:
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, dict):
            raise ValueError(f"{value.library}'s {value.name} has no state")
        if value.library == "scipy.sparse":
            return _evaluate_sparse(value.name, state, depth)
        return _evaluate_chumpy(value.name, state, depth)
    raise ValueError(f"it holds a {type(value).__name__.strip('_')} where an array belongs")


def _evaluate_chumpy(name: str, state: Mapping[str, Any], depth: int) -> np.ndarray:
    if name == "Ch":
        return _evaluate(state["x"], depth + 1)
    if name not in ("Select", "Reshape", "transpose"):
        raise ValueError(f"chumpy's {name} is not understood")
    source = _evaluate(state["a"], depth + 1)
    if name == "Select":
        indices = _evaluate(state["idxs"], depth + 1).astype(np.int64)
        shape = _integers(state["preferred_shape"], depth)
        array_bytes(indices.shape, source.dtype, _MAX_ARRAY_BYTES)
        return source.ravel()[indices].reshape(shape)
    if name == "Reshape":
        return source.reshape(_integers(state["newshape"], depth))
    axes = state.get("axes")
    return source.transpose(None if axes is None else _integers(axes, depth))


def _integers(value: Any, depth: int) -> tuple[int, ...]:
    """A shape, whose entries may be numpy or Python integers."""
    if isinstance(value, (list, tuple)):
        return tuple(int(_evaluate(item, depth + 1)) for item in value)
    return tuple(_evaluate(value, depth + 1).astype(np.int64).ravel().tolist())


def _evaluate_sparse(name: str, state: Mapping[str, Any], depth: int) -> np.ndarray:
    shape = _integers(state.get("_shape", state.get("shape", ())), depth)
    values = _evaluate(state["data"], depth + 1)
    if len(shape) != 2:
        raise ValueError(f"a sparse matrix has the shape {shape}")
    array_bytes(shape, values.dtype, _MAX_ARRAY_BYTES)
    kind = name[:3]
    if kind == "coo":
        rows, columns = (state["row"], state["col"]) if "row" in state else state["coords"]
        rows, columns = _evaluate(rows, depth + 1), _evaluate(columns, depth + 1)
    elif kind in ("csc", "csr"):
        pointers, minor = _evaluate(state["indptr"], depth + 1), _evaluate(state["indices"], depth + 1)
        counts: np.ndarray = np.diff(pointers.astype(np.int64))
        if len(counts) != shape[kind == "csc"] or (counts < 0).any() or counts.sum() != values.size:
            raise ValueError("a sparse matrix is damaged")
        major = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (major, minor) if kind == "csr" else (minor, major)
    else:
        raise ValueError(f"scipy's {name} is not understood")
    dense = np.zeros(shape, values.dtype)
    rows, columns = rows.astype(np.int64), columns.astype(np.int64)
    if not ((rows >= 0).all() and (columns >= 0).all() and rows.shape == columns.shape == values.shape):
        raise ValueError("a sparse matrix is damaged")
    np.add.at(dense, (rows, columns), values)
    return dense


def _from_bytes(data: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(dtype, _DType) or not isinstance(dtype.arguments[0], str):
        raise ValueError("an array has no data type")
    code = dtype.arguments[0]
    if code.startswith("O"):
        raise ValueError("it holds an array of Python objects where numbers belong")
    if not re.fullmatch(r"[<>|=]?[biuf?][0-9]{0,2}", code):
        raise ValueError(f"an array has the data type {code[:20]!r}")
    numpy_dtype = np.dtype(code)
    if dtype.state is not None and dtype.state[1] in ("<", ">"):
        numpy_dtype = numpy_dtype.newbyteorder(dtype.state[1])
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    num_bytes = array_bytes(shape, numpy_dtype, _MAX_ARRAY_BYTES)
    if isinstance(data, _Encoded):
        data = data.arguments[0]
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)) or len(data) != num_bytes:
        raise ValueError("an array does not have the length that it declares")
    return np.frombuffer(data, numpy_dtype).reshape(shape, order=order)
