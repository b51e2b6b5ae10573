"""The dtype of transformers' models in a pipeline that is loaded without `dtype`.

diffusers' own models are float32 then, whatever their files hold. Those of transformers follow `config.json`, which
all variants share: it holds the dtype that was saved last.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from transformers import PreTrainedModel

from .loading import rename_dtype_kwarg, weight_files

_Pipeline = TypeVar("_Pipeline", bound=DiffusionPipeline)

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def load_in_stored_dtype(load: Callable[..., _Pipeline], name: str, options: dict[str, Any]) -> _Pipeline:
    """Calls `load(name, **options)`; without a dtype among the options, no weights lose precision.

    Models of transformers whose config names a dtype that is too narrow for their file are loaded in the file's dtype.

    Args:
        load (`Callable`): `from_pretrained` of a pipeline class.
        name (`str`): the pipeline's folder or Hub id.
        options (`dict`): keyword arguments of `load`.
    """
    pipeline = load(name, **options)
    if options.get("dtype") is not None or options.get("torch_dtype") is not None:
        return pipeline
    dtypes: dict[str, torch.dtype | None] = {}
    for component, model in pipeline.components.items():
        if component in options or not isinstance(model, PreTrainedModel) or hasattr(model, "hf_quantizer"):
            continue
        stored = _widest_dtype(weight_files(Path(str(model.name_or_path)), options.get("variant")))
        if stored is not None and torch.promote_types(stored, model.dtype) != model.dtype:
            dtypes[component] = stored
    if not dtypes:
        return pipeline
    return load(name, **{**options, **rename_dtype_kwarg({"dtype": {"default": None, **dtypes}})})


def _widest_dtype(files: list[Path]) -> torch.dtype | None:
    """The dtype that holds the floating-point numbers of all files; `None` if there are none."""
    widest: torch.dtype | None = None
    for path in files:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():
                dtype = _DTYPES.get(file.get_slice(key).get_dtype())
                if dtype is not None:
                    widest = dtype if widest is None else torch.promote_types(widest, dtype)
    return widest
