"""SMPL-H bodies out of random numbers, in the forms in which real ones are distributed."""

import contextlib
import io
import pickle
import sys
import types

import numpy as np

from diffusers_handiffuser.hands.skeleton import NUM_JOINTS, OPENPOSE_FINGERS, PARENTS

TIP_NAMES = [side + finger for side in "lr" for finger in OPENPOSE_FINGERS]


def made_up_body(num_vertices: int = 300, num_betas: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """Complete arrays with dense pose directions, float64 as in the official files."""
    rng = np.random.default_rng(seed)
    weights = rng.random((num_vertices, NUM_JOINTS)) ** 8
    # A third of the vertices belongs to each hand, and a few of these to one joint alone.
    third = num_vertices // 3
    weights[:third, [20, *range(22, 37)]] += 3 * rng.random((third, 16))
    weights[third : 2 * third, [21, *range(37, 52)]] += 3 * rng.random((third, 16))
    weights[:5] = np.eye(NUM_JOINTS)[24]
    weights /= weights.sum(1, keepdims=True)
    regressor = rng.random((NUM_JOINTS, num_vertices)) * (rng.random((NUM_JOINTS, num_vertices)) < 0.1)
    regressor /= regressor.sum(1, keepdims=True)
    parents = np.array([2**32 - 1, *PARENTS[1:]], dtype=np.uint32)
    return {
        "v_template": rng.normal(0, 0.4, (num_vertices, 3)),
        "shapedirs": rng.normal(0, 0.02, (num_vertices, 3, num_betas)),
        "posedirs": rng.normal(0, 0.003, (num_vertices, 3, 459)),
        "J_regressor": regressor,
        "weights": weights,
        "f": rng.integers(0, num_vertices, (2 * num_vertices, 3)).astype(np.uint32),
        "kintree_table": np.stack([parents, np.arange(NUM_JOINTS, dtype=np.uint32)]),
    }


def made_up_hands(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """What the two MANO files add."""
    rng = np.random.default_rng(seed)
    return {
        side: {"hands_mean": rng.normal(0, 0.3, 45), "hands_components": rng.normal(0, 0.3, (45, 45))} for side in "lr"
    }


def merged(body: dict, hands: dict) -> dict:
    extra = {f"{name}{side}": array for side, hand in hands.items() for name, array in hand.items()}
    return {**body, **extra}


def fingertips_of(num_vertices: int) -> dict[str, int]:
    """Fingertips for a small made-up body, under smplx's names."""
    return {name: (7 * k) % num_vertices for k, name in enumerate(TIP_NAMES)}


def smplx_model(arrays: dict, vertex_ids: dict[str, int] | None = None):
    """`smplx.SMPLH` on these very arrays in float64; its joints 52 to 61 are the fingertips, left hand first."""
    import smplx
    import torch
    from smplx.utils import Struct

    ids = {**dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0), **vertex_ids} if vertex_ids else None
    with contextlib.redirect_stdout(io.StringIO()):
        return smplx.SMPLH(
            "",
            data_struct=Struct(**arrays),
            use_pca=False,
            flat_hand_mean=True,
            vertex_ids=ids,
            use_feet_keypoints=False,
            dtype=torch.float64,
        )


class _Chumpy:
    """Stands for a class of chumpy: a new-style object whose state is a dictionary."""

    def __init__(self, **state):
        self.__dict__.update(state)


@contextlib.contextmanager
def fake_libraries():
    """Modules with the names and classes that official pickles refer to; gone again afterwards."""
    names = {
        "chumpy": (),
        "chumpy.ch": ("Ch",),
        "chumpy.reordering": ("Select", "Reshape", "transpose"),
        "scipy.sparse.csc": ("csc_matrix",),
        "scipy.sparse.csr": ("csr_matrix",),
        "scipy.sparse.coo": ("coo_matrix",),
    }
    before = {name: sys.modules.get(name) for name in names}
    made = {}
    try:
        for name, classes in names.items():
            module = types.ModuleType(name)
            for class_name in classes:
                made[class_name] = type(class_name, (_Chumpy,), {"__module__": name, "__qualname__": class_name})
                setattr(module, class_name, made[class_name])
            sys.modules[name] = module
        yield types.SimpleNamespace(**made)
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def official_pickle(arrays: dict, protocol: int = 2, sparse: str = "csc") -> bytes:
    """A pickle as the official ones are: shape directions a chumpy `Select` over a `Ch`, a scipy.sparse regressor, and
    entries that a body does not need."""
    import scipy.sparse

    regressor = getattr(scipy.sparse, f"{sparse}_matrix")(arrays["J_regressor"])
    with fake_libraries() as lib:
        directions = arrays["shapedirs"]
        padded = np.concatenate([directions, np.zeros_like(directions)], axis=-1)
        places = np.arange(padded.size).reshape(padded.shape)[..., : directions.shape[-1]].ravel()
        if sparse == "coo":
            state = {"row": regressor.row, "col": regressor.col}
        else:
            state = {"indptr": regressor.indptr, "indices": regressor.indices}
        content = {
            **arrays,
            "shapedirs": lib.Select(
                a=lib.Ch(x=padded, _dirty_vars={"x"}, _itr=None),
                idxs=places,
                preferred_shape=directions.shape,
            ),
            "v_template": lib.Reshape(a=lib.Ch(x=arrays["v_template"].ravel()), newshape=arrays["v_template"].shape),
            "weights": lib.transpose(a=lib.Ch(x=np.ascontiguousarray(arrays["weights"].T)), axes=None),
            "J_regressor": getattr(lib, f"{sparse}_matrix")(
                _shape=tuple(np.int64(size) for size in regressor.shape), data=regressor.data, maxprint=50, **state
            ),
            "bs_type": "lrotmin",
            "bs_style": "lbs",
            "J": lib.Ch(x=np.zeros((NUM_JOINTS, 3))),
        }
        return pickle.dumps(content, protocol=protocol)
