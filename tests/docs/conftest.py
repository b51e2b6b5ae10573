import json
import shutil

import pytest

import diffusers_handiffuser


@pytest.fixture(scope="session")
def quick_mini(tmp_path_factory):
    """The bundled checkpoint with two steps by default."""
    folder = shutil.copytree(diffusers_handiffuser.MINI, tmp_path_factory.mktemp("quick") / "mini")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index |= {"default_num_inference_steps": 2, "default_num_hand_inference_steps": 2}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return str(folder)
