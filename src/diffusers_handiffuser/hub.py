"""How the package is known to diffusers: registration, what saved pipelines look like, and loading them again.

diffusers has no plug-in mechanism. Its loader looks names up in tables, so importing this package adds itself there,
once and without replacing anything:

* `LOADABLE_CLASSES` is read by `_get_library_or_raise` (may a component come from this library?), by
  `_get_custom_components_and_folders` (the same question for a download) and by `_fetch_class_library_tuple` (what
  `save_pretrained` writes: the top-level name, which is therefore an interface);
* `DiffusionPipeline.from_pretrained` looks the pipeline's class up as an attribute of `diffusers`;
* `AutoPipelineForText2Image` has a mapping of its own.
"""

import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ModelMixin
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .hands import HandBodyModel
from .models import TextHandEncoder, TextToHandParamsModel
from .portable_config import PortableConfigMixin

PACKAGE = __name__.partition(".")[0]
PIPELINE_FILE = "pipeline"
COMPONENT_CLASSES = {cls.__name__: cls for cls in (TextHandEncoder, TextToHandParamsModel, HandBodyModel)}

__all__ = [
    "HubMixin",
    "ModelMixin",
    "forget_origin",
    "register_library",
    "register_pipeline",
    "save_half",
    *COMPONENT_CLASSES,
]


def register_library() -> None:
    """Lets diffusers load components from this package. Called on import; calling it again changes nothing."""
    for library in (PACKAGE, __name__):
        LOADABLE_CLASSES.setdefault(library, {"ModelMixin": ["save_pretrained", "from_pretrained"]})


def register_pipeline(pipeline_class: type, task_mapping: dict[str, type], name: str = "handiffuser") -> None:
    """Lets `DiffusionPipeline.from_pretrained` and the `AutoPipeline` of one task find a pipeline of this package.

    Args:
        pipeline_class (`type`): the pipeline. A class of that name in diffusers itself would not be replaced.
        task_mapping (`dict`): one of diffusers' `AUTO_*_PIPELINES_MAPPING`.
        name (`str`): the family under which the pipelines of different tasks find each other.
    """
    for module in (diffusers, diffusers.pipelines):
        if not hasattr(module, pipeline_class.__name__):
            setattr(module, pipeline_class.__name__, pipeline_class)
    task_mapping.setdefault(name, pipeline_class)


def loadable_by_bare_class(*components: str) -> Callable[[Callable], Callable]:
    """Decorates a pipeline's `__init__`, some of whose components have the default `None`.

    `DiffusionPipeline.from_pretrained(..., body_model=mine)` knows a component by its parameter having no default,
    unless it is called on a class that lists it in `_optional_components`, which the bare class cannot do. It would
    load the saved component instead of the one passed in. So those parameters show no default; calls have it all the
    same.
    """

    def decorate(init: Callable) -> Callable:
        signature = inspect.signature(init)
        parameters = [
            parameter.replace(default=inspect.Parameter.empty) if name in components else parameter
            for name, parameter in signature.parameters.items()
        ]
        init.__signature__ = signature.replace(parameters=parameters)
        return init

    return decorate


class HubMixin(PortableConfigMixin):
    """Loading and saving of this package's pipelines; stands before diffusers' class in the bases of a pipeline.

    A saved pipeline loads through its own class from either layout that exists for third-party pipelines. *Plain*,
    what `save_pretrained` writes: `DiffusionPipeline.from_pretrained(...)` works after `import diffusers_handiffuser`.
    With loader code, after `register_for_remote_code()`: the same call works without the import, given
    `trust_remote_code=True`, if the package is installed.
    """

    _with_loader_code = False

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> Any:
        """As `DiffusionPipeline.from_pretrained`; says in one line what is wrong with a folder that cannot be loaded.

        Raises:
            OSError: there is no such folder, it holds no pipeline or a damaged one, or the Hub does not have it.
            ValueError: the pipeline in the folder is not one that HanDiffuser can run.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if os.path.isdir(name):
            _check_folder(cls, name)
            try:
                return super().from_pretrained(name, **kwargs)
            except (SafetensorError, RuntimeError) as error:  # of transformers; diffusers has one line for these
                raise OSError(f"Cannot load {cls.__name__} from {name!r}: {' '.join(str(error).split())}") from error
        if os.path.exists(name) or _looks_like_a_path(name):
            problem = "is a file" if os.path.exists(name) else "does not exist"
            raise OSError(f"Cannot load {cls.__name__}: {name!r} {problem}; wanted a folder or a Hub id.")
        try:
            return super().from_pretrained(name, **kwargs)
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
            reason = " ".join(str(error).split())
            raise OSError(f"Cannot load {cls.__name__}: {name!r} is no folder, and the Hub says: {reason}") from error

    @classmethod
    def from_pipe(cls, pipeline: Any, **kwargs) -> Any:
        """As in diffusers, except that what `pipeline` lacks for hands is `None` unless given.

        A Stable Diffusion pipeline `sd` needs `text_encoder=TextHandEncoder.from_clip(sd.text_encoder)` at least.
        """
        lacking = {name: None for name in cls._optional_components if name not in pipeline.components}
        return super().from_pipe(pipeline, **{**lacking, **kwargs})

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike) -> dict[str, Any]:
        """Reads a `model_index.json` of either layout as if it were plain.

        Components of ours are looked up in this very module, since a file `<component>/diffusers_handiffuser.py` in
        the repository would make diffusers ask for trust in remote code that is not needed.
        """
        index = super()._dict_from_json_file(json_file)
        if not isinstance(index, dict):
            raise OSError(f"{json_file} does not hold a JSON object.")
        if isinstance(index.get("_class_name"), list):
            index["_class_name"] = index["_class_name"][-1]
        for name, entry in index.items():
            if isinstance(entry, list) and len(entry) == 2 and entry[1] in COMPONENT_CLASSES:
                index[name] = [__name__, entry[1]]
        return index

    def register_for_remote_code(self, enable: bool = True) -> None:
        """Makes `save_pretrained` and `push_to_hub` add one-line loader files and an index that points to them."""
        self._with_loader_code = enable

    def to_json_string(self) -> str:
        index = super().to_json_string()
        if not self._with_loader_code:
            return index
        index = {**json.loads(index), "_class_name": [PIPELINE_FILE, type(self).__name__]}
        return json.dumps(index, indent=2, sort_keys=True) + "\n"

    def save_config(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> None:
        """Writes `model_index.json`; `save_pretrained` calls this after the components and before an upload."""
        folder = Path(save_directory)
        for name, component in self.components.items():
            if component is not None:
                forget_origin(folder / name)
            if self._with_loader_code and type(component).__name__ in COMPONENT_CLASSES:
                _write_loader(folder / name / f"{PACKAGE}.py", *COMPONENT_CLASSES)
        if self._with_loader_code:
            _write_loader(folder / f"{PIPELINE_FILE}.py", type(self).__name__)
        super().save_config(save_directory, push_to_hub=push_to_hub, **kwargs)


def save_half(pipeline: Any, save_directory: str | os.PathLike) -> None:
    """Saves a pipeline whose tensors are float16 on disk and float32 again when loaded.

    The files have their default names (no variant), so `from_pretrained(save_directory)` needs no option; diffusers'
    models load as float32 unless `dtype` says otherwise, and transformers' models load as their `config.json` says,
    which is made to say float32. The body model keeps its float32 numbers. The pipeline itself is not changed.

    Raises a `ValueError` that names the tensor if a number is too large for float16.
    """
    pipeline.save_pretrained(save_directory)
    for name, component in pipeline.components.items():
        if not isinstance(component, torch.nn.Module) or isinstance(component, HandBodyModel):
            continue
        folder = Path(save_directory) / name
        for path in sorted(folder.glob("*.safetensors")):
            _halve(path)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "dtype" in config:
            config["dtype"] = "float32"
            _write_json(folder / "config.json", config)


def forget_origin(folder: Path) -> None:
    """Removes from the saved config of a model that is not ours the place where that model was loaded from."""
    for path in folder.glob("*config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            _write_json(path, config)


def _halve(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    for key, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[key] = tensor.half()
            if not torch.equal(tensors[key].isfinite(), tensor.isfinite()):
                raise ValueError(f"`{key}` in {path} holds numbers too large for float16.")
    aside = path.with_suffix(".tmp")
    save_file(tensors, aside, metadata=metadata)
    os.replace(aside, path)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name or not name


def _check_folder(cls: type, folder: str) -> None:
    """Refuses a folder without a pipeline, or with one whose text encoder cannot see hands, before loading it."""
    if not os.path.isfile(os.path.join(folder, cls.config_name)):
        raise OSError(f"Cannot load {cls.__name__}: {folder!r} holds no {cls.config_name}; wanted a saved pipeline.")
    index = cls.load_config(folder)
    entry = index.get("text_encoder")
    library, name = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
    if library in (None, "transformers"):
        raise ValueError(
            f"Cannot load {cls.__name__}: {folder!r} holds a {index.get('_class_name')} with the text encoder {name}; "
            f"wanted a TextHandEncoder. `{cls.__name__}.from_pipe` adds one to a loaded Stable Diffusion pipeline."
        )


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_loader(path: Path, *names: str) -> None:
    path.write_text(f"from {PACKAGE} import {', '.join(names)}  # noqa: F401\n", encoding="utf-8")
