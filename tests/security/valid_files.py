"""Every kind of file that the package reads from others: how a valid one is made, and what reads it."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_up_body import fingertips_of, made_up_body, official_pickle
from PIL import Image

from diffusers_handiffuser import HandBodyModel, HandParams, TextHandEncoder, TextToHandParamsModel
from diffusers_handiffuser.data.checking import CheckReport, check_dataset
from diffusers_handiffuser.data.importers import read_humanml3d_captions, read_motion
from diffusers_handiffuser.data.rows import Picture, write_row
from diffusers_handiffuser.data.sources import Shard
from diffusers_handiffuser.hands.smplh_file import read_smplh_file

NUM_VERTICES = 12


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file.

    Args:
        file_name (`str`): a usual name.
        content (`Callable`): makes a valid file's content.
        read (`Callable`): takes the path; raises on a bad file, and checks what it has read.
    """

    file_name: str
    content: Callable[[], bytes]
    read: Callable[[Path], Any]

    def write(self, folder: Path) -> bytes:
        content = self.content()
        path = folder / self.file_name
        path.write_bytes(content)
        self.read(path)
        return content


def some_hands() -> HandParams:
    hands = HandParams.zeros(2)
    return hands.replace(betas=torch.linspace(-1, 1, 20).reshape(2, 10), hand_visible=torch.ones(2, 2, dtype=bool))


def _saved_hands(suffix: str) -> Callable[[], bytes]:
    def content() -> bytes:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"hands{suffix}"
            some_hands().save(path)
            return path.read_bytes()

    return content


def _read_hands(path: Path) -> None:
    hands = HandParams.load(path)
    assert all(torch.isfinite(getattr(hands, name).float()).all() for name in HandParams.FIELDS)


def small_body() -> dict[str, np.ndarray]:
    regressor = np.full((52, NUM_VERTICES), 1 / NUM_VERTICES)
    return {**made_up_body(NUM_VERTICES, num_betas=10), "J_regressor": regressor}


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _read_body(path: Path) -> None:
    arrays = read_smplh_file(path)
    assert all(np.isfinite(array).all() for array in arrays.values())
    try:
        HandBodyModel.from_smplh(path, vertex_ids=fingertips_of(NUM_VERTICES))
    except ValueError as error:
        assert "vertex" in str(error) or "shapedirs" in str(error), error


def _motion() -> bytes:
    poses = np.random.default_rng(0).normal(0, 0.1, (6, 156))
    return npz_bytes({"poses": poses, "betas": np.zeros(16), "mocap_framerate": np.array(60.0), "gender": "neutral"})


def _rows() -> list[dict]:
    return [write_row(row, "a hand", source="test") for row in some_hands()]


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(_rows()), file)
    return file.getvalue()


def picture_bytes(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, row in enumerate(_rows()):
            for suffix, content in (("json", json.dumps(row).encode()), ("png", picture_bytes())):
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _check_rows(kind: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        rows = list(Shard(str(path), kind).rows())
        report = check_dataset(rows, _BODY) if rows else CheckReport(0, [], {})
        if report.problems:
            raise ValueError(str(report.problems[0]))

    return read


def _read_picture(path: Path) -> None:
    assert Picture(f"{path}, row 0", path).square(8).shape == (8, 8, 3)


_BODY = HandBodyModel.procedural()

READERS = {
    "hand parameters": Reader("hands.safetensors", _saved_hands(".safetensors"), _read_hands),
    "hand parameters in JSON": Reader("hands.json", _saved_hands(".json"), _read_hands),
    "body in npz": Reader("body.npz", lambda: npz_bytes(small_body()), _read_body),
    "body in a pickle": Reader("body.pkl", lambda: official_pickle(small_body()), _read_body),
    "motion": Reader("motion.npz", _motion, read_motion),
    "captions": Reader("000001.txt", lambda: b"a hand waves.#a/DET hand/NOUN#0.0#2.5\n", read_humanml3d_captions),
    "rows": Reader("metadata.jsonl", lambda: "\n".join(map(json.dumps, _rows())).encode(), _check_rows("jsonl")),
    "rows in Parquet": Reader("metadata.parquet", _parquet, _check_rows("metadata")),
    "rows in a tar": Reader("shard.tar", _tar, _check_rows("webdataset")),
    "PNG": Reader("picture.png", picture_bytes, _read_picture),
    "JPEG": Reader("picture.jpg", lambda: picture_bytes("JPEG"), _read_picture),
    "WEBP": Reader("picture.webp", lambda: picture_bytes("WEBP"), _read_picture),
}


def make_models() -> dict[str, Any]:
    """The package's models, as small as they can be."""
    torch.manual_seed(0)
    arrays = {name: np.float32(array) for name, array in small_body().items() if name not in ("f", "posedirs")}
    arrays |= {"f": small_body()["f"].astype(np.int64), "hands_meanl": np.zeros(45), "hands_meanr": np.zeros(45)}
    arrays |= {"hands_componentsl": np.eye(45), "hands_componentsr": np.eye(45)}
    return {
        "text_to_hand_params": TextToHandParamsModel(
            hidden_size=8, num_layers=1, num_attention_heads=1, cross_attention_dim=4
        ),
        "text_encoder": TextHandEncoder(
            vocab_size=32,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_position_bins=4,
            num_basis_points=4,
            hand_hidden_size=8,
        ),
        "body_model": HandBodyModel._from_arrays(arrays, "own", False, fingertips_of(NUM_VERTICES)),
    }
