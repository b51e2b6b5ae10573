"""A model that passed once is not built again, and nothing else passes for it."""

import pytest
import torch
from safetensors.torch import save_file

from diffusers_handiffuser.hub.checked_sizes import check_size


class Model:
    """Counts how often it is built."""


@pytest.fixture
def builds(tmp_path):
    save_file({"weight": torch.zeros(4)}, tmp_path / "model.safetensors")
    built = []

    def check(config: int, model_class=Model):
        def build():
            built.append(config)
            torch.empty(config)

        check_size("model", build, tmp_path, model_class, str(config))
        return list(built)

    return check


def test_the_same_model_is_built_once(builds):
    assert builds(4) == [4]
    assert builds(4) == [4]


def test_another_config_class_or_file_is_built(builds, tmp_path):
    builds(5)
    assert builds(6) == [5, 6]
    assert builds(5, type("Other", (), {})) == [5, 6, 5]
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert builds(5) == [5, 6, 5, 5]


def test_what_is_too_large_is_refused_every_time(builds):
    builds(7)
    for _ in range(2):
        with pytest.raises(ValueError, match="much larger than its weights"):
            builds(2**40)
