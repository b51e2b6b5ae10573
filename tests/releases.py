"""What differs between the releases of diffusers and transformers that the tests run with, and is not ours to mend."""

import json

import diffusers
import huggingface_hub
import pytest
import transformers
from packaging.version import Version

OLD_DIFFUSERS = Version(diffusers.__version__) < Version("0.42")
TRANSFORMERS_4 = Version(transformers.__version__) < Version("5")

if OLD_DIFFUSERS:
    # Offline, they want `weight_name` even for the weights in a folder.
    from diffusers.loaders import lora_base

    lora_base.HF_HUB_OFFLINE = False

group_offload_without_gpu = pytest.mark.skipif(OLD_DIFFUSERS, reason="this diffusers needs a GPU for group offloading")
warns_of_float32_modules = pytest.mark.skipif(OLD_DIFFUSERS, reason="this diffusers casts without a word")
imports_what_an_index_names = pytest.mark.skipif(
    OLD_DIFFUSERS, reason="the bare class of this diffusers imports any module that a model_index.json names"
)
caches_after_a_call = pytest.mark.skipif(
    OLD_DIFFUSERS, reason="this diffusers does not see blocks that are cached after a first call"
)
loads_a_part_of_a_repository_offline = pytest.mark.skipif(
    OLD_DIFFUSERS and hasattr(huggingface_hub.errors, "IncompleteSnapshotError"),
    reason="offline, this diffusers asks for every file of a repository, and this huggingface_hub refuses a part",
)
knows_dtype = pytest.mark.skipif(OLD_DIFFUSERS, reason="this diffusers calls the argument `torch_dtype` alone")
ignores_proxies = pytest.mark.skipif(
    Version(huggingface_hub.__version__) < Version("1"), reason="this huggingface_hub uses `proxies`"
)

DTYPE = "torch_dtype" if OLD_DIFFUSERS else "dtype"
"""The name that diffusers' own classes have for it; ours know both."""
LOADER_FUNCTIONS = ("_get_custom_components_and_folders", "_fetch_class_library_tuple")
"""Those of diffusers that read its table of libraries."""
if not OLD_DIFFUSERS:
    LOADER_FUNCTIONS += ("_get_library_or_raise",)
TOO_OLD_FOR = (
    {"flux": "this transformers makes no T5 tokenizer without a SentencePiece file"} if TRANSFORMERS_4 else {}
) | ({"z-image": "this diffusers' Z-Image draws black on a CPU"} if OLD_DIFFUSERS else {})
"""Tiny models that cannot be made or run, by the beginning of their names in the tests, and why."""
CLIP_PREFIX = "text_model." if Version(transformers.__version__) < Version("5.6") else ""
"""Before the name of each weight in a CLIP text model; checkpoints have it with any release."""
SHAPES_DIFFER = "size mismatch for weight" if TRANSFORMERS_4 else "ignore_mismatched_sizes"
"""What transformers says of a stored weight of another shape; it does not name the key."""
REMARKS = ("Modular Diffusers is currently an experimental feature",) if OLD_DIFFUSERS else ()
"""What diffusers says when it is imported."""

# Before 1.0, huggingface_hub had sessions of requests rather than of httpx; either keeps to what it was made with.
close_session = getattr(huggingface_hub, "close_session", None) or huggingface_hub.utils.reset_sessions


def clip_transformer(clip):
    """What holds the weights of a CLIP text model: itself, or before transformers 5.6 a part of it."""
    return getattr(clip, "text_model", clip)


def same_tokens(files):
    """Contents of saved files, without what transformers 4 adds to special tokens once they were loaded."""
    for name in [name for name in files if TRANSFORMERS_4 and name.endswith("special_tokens_map.json")]:
        tokens = json.loads(files[name])
        files[name] = {key: token["content"] if isinstance(token, dict) else token for key, token in tokens.items()}
    return files
