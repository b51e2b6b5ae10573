"""Whatever happens to a file, it is read or refused by a documented error that names it; nothing else ever happens."""

import json
import shutil
from pathlib import Path

import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valid_files import READERS

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel

MODELS = {"text_to_hand_params": TextToHandParamsModel, "text_encoder": TextHandEncoder, "body_model": HandBodyModel}
WEIGHTS = "diffusion_pytorch_model.safetensors"
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FEW = settings(SETTINGS, max_examples=15)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def read_or_refuse(read, path: Path) -> None:
    try:
        read(path)
    except (ValueError, OSError) as error:
        assert path.name in str(error) and "\n" not in str(error), error


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(valid_files, tmp_path, name):
    reader = READERS[name]
    path = tmp_path / reader.file_name

    @SETTINGS
    @given(damaged(valid_files[name]))
    def check(content):
        path.write_bytes(content)
        read_or_refuse(reader.read, path)

    check()


@pytest.mark.parametrize("name", ["hand parameters in JSON", "rows"])
def test_odd_values(valid_files, tmp_path, name):
    reader, row = READERS[name], json.loads(valid_files[name].splitlines()[0])
    path = tmp_path / reader.file_name

    @SETTINGS
    @given(st.sampled_from(sorted(row)), JSON)
    def check(key, value):
        path.write_text(json.dumps({**row, key: value}))
        read_or_refuse(reader.read, path)

    check()


@pytest.mark.parametrize("file", ["config.json", WEIGHTS])
@pytest.mark.parametrize("name", MODELS)
def test_damaged_models(stored_models, tmp_path, name, file):
    folder = tmp_path / "damaged model"
    shutil.copytree(stored_models[name], folder)
    content = (folder / file).read_bytes()

    @FEW
    @given(damaged(content))
    def check(content):
        (folder / file).write_bytes(content)
        read_or_refuse(MODELS[name].from_pretrained, folder)

    check()


@pytest.mark.parametrize("name", MODELS)
def test_odd_configs(stored_models, tmp_path, name):
    folder = tmp_path / "odd config"
    shutil.copytree(stored_models[name], folder)
    config = json.loads((folder / "config.json").read_text())

    @SETTINGS
    @given(st.sampled_from(sorted(config)), JSON)
    def check(key, value):
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
        read_or_refuse(MODELS[name].from_pretrained, folder)

    check()


def test_odd_indices(stored_pipeline, tmp_path):
    """No weights stand there, so that what passes the checks of the index ends at the first component."""
    folder = tmp_path / "odd index"
    folder.mkdir()
    index = json.loads((stored_pipeline / "model_index.json").read_text())
    texts = st.sampled_from(["os", "system", "diffusers", "transformers", "builtins", "eval", "../x", "", "AutoModel"])

    @SETTINGS
    @given(st.sampled_from(sorted(index)), JSON | st.lists(texts, min_size=1, max_size=3))
    def check(key, value):
        (folder / "model_index.json").write_text(json.dumps({**index, key: value}))
        with pytest.raises((ValueError, OSError)) as caught:
            HanDiffuserPipeline.from_pretrained(folder)
        assert folder.name in str(caught.value) and "\n" not in str(caught.value)

    check()


class TestFoundByFuzzing:
    """Inputs that once ended in another error, or in one that did not name the file."""

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("motion", lambda content: content[:-30]),  # zipfile.BadZipFile
            ("motion", lambda content: content.replace(b"poses", b"p\xffses")),  # KeyError, UnicodeDecodeError
            ("captions", lambda content: b"\xff" + content),  # UnicodeDecodeError
            ("captions", lambda content: content.replace(b"2.5", b"1e999")),  # OverflowError when it was sampled
            ("rows", lambda content: b'{"a": ' + b"[" * 50_000),  # RecursionError
            (
                "rows",
                lambda content: content.replace(b'"betas": [', b'"betas": [1' + b"0" * 400 + b", ", 1),
            ),  # OverflowError
            ("rows in Parquet", lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1"),  # OSError without a name
            ("rows in a tar", lambda content: content[:600]),  # tarfile.ReadError
            ("rows in a tar", lambda content: content[:100] + b"9" + content[101:]),  # tarfile.ReadError
            ("body in a pickle", lambda content: b"c" + b"x" * 10**5 + b"\ny\n."),  # a message as long as the file
        ],
    )
    def test_files(self, valid_files, tmp_path, name, change):
        path = tmp_path / READERS[name].file_name
        content = change(valid_files[name])
        assert content != valid_files[name]
        path.write_bytes(content)
        with pytest.raises((ValueError, OSError), match=path.name) as caught:
            READERS[name].read(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 800

    @pytest.mark.parametrize(
        "entry",
        [5, ["diffusers"], ["diffusers", 3], [["a"], "b"], ["a", ["b"]], [None, "x"], ["os", "system"], {"a": 1}],
    )
    def test_indices(self, stored_pipeline, tmp_path, entry):
        """TypeError, AttributeError, KeyError; `os.system` was looked up and asked whether it is a model."""
        shutil.copytree(stored_pipeline, tmp_path / "odd")
        path = tmp_path / "odd" / "model_index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "scheduler": entry}))
        with pytest.raises((ValueError, OSError), match="odd") as caught:
            HanDiffuserPipeline.from_pretrained(tmp_path / "odd")
        assert "\n" not in str(caught.value)
