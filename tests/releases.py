"""What differs between the releases of diffusers that the tests run with, and is not ours to mend."""

import diffusers
import pytest
from packaging.version import Version

OLD_DIFFUSERS = Version(diffusers.__version__) < Version("0.42")

if OLD_DIFFUSERS:
    # Offline, they want `weight_name` even for the weights in a folder.
    from diffusers.loaders import lora_base

    lora_base.HF_HUB_OFFLINE = False

group_offload_without_gpu = pytest.mark.skipif(OLD_DIFFUSERS, reason="this diffusers needs a GPU for group offloading")
warns_of_float32_modules = pytest.mark.skipif(OLD_DIFFUSERS, reason="this diffusers casts without a word")
