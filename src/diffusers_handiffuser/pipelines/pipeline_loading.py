"""Loading and saving of pipelines."""

import contextlib
import inspect
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import diffusers
import torch
from diffusers import DiffusionPipeline, ModelMixin
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError
from safetensors import safe_open
from safetensors.torch import save_file

from ..hands import HandBodyModel
from ..hub.checked_components import check_component, component_class, is_component_class, library_of
from ..hub.checked_configs import check_config
from ..hub.checked_sizes import sizes_checked
from ..hub.loading import (
    check_finite_weights,
    check_keys,
    one_line_error,
    refuse_pickles_as_option,
    rename_dtype_kwarg,
    weight_files,
)
from ..hub.loading_lock import one_at_a_time
from ..hub.model_card import CARD_FILE
from ..hub.offline import heed_offline_mode, weights_instead
from ..hub.places import refuse_absent
from ..hub.saving import SavingMixin, reset_tokenizer_padding, strip_load_paths, write_json
from ..hub.stored_dtype import load_in_stored_dtype
from ..models import TextHandEncoder, TextToHandParamsModel
from ..utils.atomic_files import atomic_write, atomic_write_dir
from ..utils.contained_paths import refuse_link_outwards
from ..utils.messages import INSTALL, one_line_of
from ..utils.suggestions import nearest_name

PACKAGE = __name__.partition(".")[0]
PIPELINE_FILE = "pipeline"
_WHERE = ("cache_dir", "force_download", "proxies", "local_files_only", "token", "revision")
"""Arguments of `from_pretrained` that say where files come from."""
_OPTIONS = (*_WHERE, "check_body_model", "check_sizes", "dtype", "variant", "device_map", "trust_remote_code")
_SOMETIMES_IGNORED = ("trust_remote_code", "use_onnx", "use_flashpack", "disable_mmap", "low_cpu_mem_usage", "dtype")
"""Options that some releases of diffusers know and others ignore."""
_LIBRARIES = ("diffusers", "transformers", PACKAGE)
COMPONENT_CLASSES = {cls.__name__: cls for cls in (TextHandEncoder, TextToHandParamsModel, HandBodyModel)}

_Function = TypeVar("_Function", bound=Callable)

__all__ = [
    "PipelineLoadingMixin",
    "ModelMixin",
    "reset_tokenizer_padding",
    "strip_load_paths",
    "refuse_adapters",
    "save_half",
    *COMPONENT_CLASSES,
]


def accept_component_overrides(*components: str) -> Callable[[_Function], _Function]:
    """Decorates a pipeline's `__init__`, some of whose components have the default `None`.

    `DiffusionPipeline.from_pretrained(..., body_model=mine)` knows a component by its parameter having no default,
    unless it is called on a class that lists it in `_optional_components`, which the bare class cannot do. It would
    load the saved component instead of the one passed in. So those parameters show no default; calls have it all the
    same.
    """

    def decorate(init: _Function) -> _Function:
        signature = inspect.signature(init)
        parameters = [
            parameter.replace(default=inspect.Parameter.empty) if name in components else parameter
            for name, parameter in signature.parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD  # would be taken for a component
        ]
        init.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return init

    return decorate


class PipelineLoadingMixin(SavingMixin):
    """Loading and saving of this package's pipelines; stands before diffusers' class in the bases of a pipeline.

    A saved pipeline loads through its own class from either layout that exists for third-party pipelines. *Plain*,
    what `save_pretrained` writes: `DiffusionPipeline.from_pretrained(...)` works after `import diffusers_handiffuser`.
    With loader code, after `register_for_remote_code()`: the same call works without the import, given
    `trust_remote_code=True`, if the package is installed.
    """

    _optional_components: list[str]
    _saves_card = True
    _with_loader_code = False

    @classmethod
    @one_at_a_time
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        check_body_model: bool = True,
        check_sizes: bool = True,
        **kwargs: Any,
    ) -> Self:
        """As `DiffusionPipeline.from_pretrained`; says in one line what is wrong with what cannot be loaded.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): a folder or a Hub id.
            check_body_model (`bool`): of a checkpoint made with a licensed body, which is not stored with it, refuse a
                `body_model` that is another one. With diffusers' own class, which refuses it too, `body_sha256=None`
                says the same as `check_body_model=False`.
            check_sizes (`bool`): refuse a component whose config asks for a model much larger than the weights beside
                it, before that model is built, or has whole numbers that no model has.
            kwargs: those of diffusers, and components to take instead of the stored ones. A `dtype` of half precision
                moves the sampled hands, bfloat16 by millimetres and at times more, unless stage 1 keeps float32:
                `dtype={"default": torch.bfloat16, "hand_text_encoder": torch.float32,
                "text_to_hand_params": torch.float32}`.

        Raises:
            OSError: there is no such folder, it holds no pipeline or a damaged one, or the Hub does not have it.
            ValueError: the pipeline is not one that HanDiffuser can run, `body_model` is not the one it was made
                with, or a component is not one model of safetensors and JSON in its folder, of a size that fits them.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if os.path.isdir(name) and not os.path.isfile(os.path.join(name, cls.config_name)):
            raise OSError(f"Cannot load {cls.__name__}: {name!r} holds no {cls.config_name}; wanted a saved pipeline.")
        refuse_pickles_as_option(kwargs)
        kwargs = heed_offline_mode(rename_dtype_kwarg(kwargs))
        where = {key: kwargs[key] for key in _WHERE if key in kwargs}
        refuse_absent(name, f"Cannot load {cls.__name__}", **where)
        try:
            with one_line_error(cls.__name__, name), sizes_checked(check_sizes):
                folder = _stored_file(name, cls.config_name, where).parent
                index = cls.load_config(folder)
                _check_index(cls, name, index, kwargs)
                if not check_body_model:
                    kwargs["body_sha256"] = None
                if isinstance(kwargs.get("body_model"), HandBodyModel):
                    check_body(kwargs.get("body_sha256", index.get("body_sha256")), kwargs["body_model"])
                stored = {key for key, entry in index.items() if isinstance(entry, list) and key not in kwargs}
                if os.path.isdir(name):
                    _check_components(cls, name, folder, kwargs)
                absent = {key: None for key, entry in index.items() if entry == [None, None]}
                options = {**absent, **kwargs, "use_safetensors": True}
                pipeline = load_in_stored_dtype(super().from_pretrained, name, options)
                for component in sorted(stored):
                    _check_stored_keys(component, pipeline.components.get(component), folder, kwargs.get("variant"))
                with contextlib.suppress(OSError, HTTPError):
                    _stored_file(name, CARD_FILE, where)  # beside the models, where a pipeline saved again looks
                return pipeline
        except (OSError, HTTPError) as error:
            instead = weights_instead(name, cls.config_name, kwargs)
            if os.path.isdir(name):
                if not instead or instead in str(error):
                    raise
                raise OSError(f"{str(error).rstrip('.')}{instead}.") from error
            reason = one_line_of(error.__cause__ or error)
            if instead:
                reason = f"{reason.rstrip('.')}{instead}."
            elif "`safetensors` weights" in reason:
                reason += " It may hold pickles, which are not read here: convert them to safetensors."
            raise OSError(
                f"Cannot load {cls.__name__}: there is no folder {name!r} here, and the Hub says: {reason}"
            ) from error

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> tuple[dict, dict, dict]:
        """As in diffusers; refuses arguments of loading that it would ignore, with a warning."""
        init_dict, unused, hidden = super().extract_init_dict(config_dict, **kwargs)
        parameters = inspect.signature(cls.__init__).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        for name in kwargs if not takes_all else ():
            if name in unused and name not in _SOMETIMES_IGNORED:
                nearest = nearest_name(name, (*list(parameters)[1:], *_OPTIONS))
                hint = f" (did you mean `{nearest}`?)" if nearest else ""
                raise TypeError(f"`from_pretrained` of {cls.__name__} has no argument `{name}`{hint}.")
        return init_dict, unused, hidden

    @classmethod
    def download(cls, pretrained_model_name: str | os.PathLike, **kwargs: Any) -> str:
        """As in diffusers; checks what has come, of which nothing has been read yet."""
        folder = super().download(pretrained_model_name, **kwargs)
        _check_components(cls, os.fspath(pretrained_model_name), Path(folder), kwargs)
        return folder

    def register_to_config(self, **kwargs: Any) -> None:
        """As in diffusers, which passes `_name_or_path` at the end of loading: then all weights must be finite."""
        super().register_to_config(**kwargs)
        if "_name_or_path" in kwargs:
            for name, component in self.components.items():
                if isinstance(component, torch.nn.Module) and type(component).__name__ not in COMPONENT_CLASSES:
                    check_finite_weights(name, component)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *args: Any,
        push_to_hub: bool = False,
        card: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """As in diffusers, and writes a model card (README.md) unless the folder has one.

        Args:
            save_directory (`str` or `os.PathLike`): made if absent.
            *args: positional arguments of diffusers.
            push_to_hub (`bool`): uploads the folder too; `repo_id` (else the folder's name), `commit_message`,
                `private`, `token`, `create_pr` and `revision` are those of the method `push_to_hub`.
            card (`Mapping[str, str]`, *optional*): facts for the card, see `model_card.CARD_FACTS`.
            **kwargs: keyword arguments of diffusers.
        """
        for name, component in self.components.items():
            reset_tokenizer_padding(component)
            refuse_adapters(name, component)
        super().save_pretrained(save_directory, *args, push_to_hub=push_to_hub, card=card, **kwargs)

    save_pretrained.__wrapped__ = DiffusionPipeline.save_pretrained  # type: ignore[attr-defined]  # its arguments

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, without its warnings of unsaved components where there is stage 1 alone."""
        required = self.components.keys() - set(self._optional_components)
        if any(self.components[name] is not None for name in required):
            super()._save(folder, repo_id, *args, **kwargs)
            return
        self._optional_components = [*self._optional_components, *required]
        try:
            super()._save(folder, repo_id, *args, **kwargs)
        finally:
            del self._optional_components

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike, **kwargs: Any) -> dict[str, Any]:
        """Reads a `model_index.json` of either layout as if it were plain.

        Components of ours are looked up in this very module, since a file `<component>/diffusers_handiffuser.py` in
        the repository would make diffusers ask for trust in remote code that is not needed.
        """
        index = super()._dict_from_json_file(json_file, **kwargs)  # older releases of diffusers have one more argument
        if not isinstance(index, dict):
            raise OSError(f"{json_file} does not hold a JSON object.")
        if isinstance(index.get("_class_name"), list):
            index["_class_name"] = index["_class_name"][-1]
        for name, entry in index.items():
            if isinstance(entry, list) and len(entry) == 2 and str(entry[1]) in COMPONENT_CLASSES:
                index[name] = [__name__, entry[1]]
        return index

    def register_for_remote_code(self, enable: bool = True) -> None:
        """Makes `save_pretrained` and `push_to_hub` add one-line loader files and an index that points to them."""
        self._with_loader_code = enable

    def to_json_string(self) -> str:
        index = super().to_json_string()
        if not self._with_loader_code:
            return index
        content = {**json.loads(index), "_class_name": [PIPELINE_FILE, type(self).__name__]}
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    def save_config(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Writes `model_index.json`; `save_pretrained` calls this after the components and before an upload."""
        folder = Path(save_directory)
        for name, component in self.components.items():
            for place in (folder / name, *folder.glob(f"{name}_[0-9]*")):  # several ControlNets stand side by side
                strip_load_paths(place)
                _widen_config_of_variant(place)
            if self._with_loader_code and type(component).__name__ in COMPONENT_CLASSES:
                _write_loader(folder / name / f"{PACKAGE}.py", *COMPONENT_CLASSES)
        if self._with_loader_code:
            _write_loader(folder / f"{PIPELINE_FILE}.py", type(self).__name__)
        body = self.components.get("body_model")
        if body is not None:
            self.register_to_config(body_sha256=body.config.sha256 if body.config.licensed else None)
        super().save_config(save_directory, push_to_hub=push_to_hub, **kwargs)


def save_half(pipeline: Any, save_directory: str | os.PathLike, card: Mapping[str, str] | None = None) -> None:
    """Saves a pipeline whose weights are float16 on disk and float32 again when loaded.

    The files have their default names (no variant), so `from_pretrained(save_directory)` needs no option; diffusers'
    models load as float32 unless `dtype` says otherwise, and transformers' models load as their `config.json` says,
    which is made to say float32. The body model and what is measured rather than learned (basis points, mean and
    standard deviation of the samples) keep their float32 numbers. The pipeline itself is not changed.

    `card` is that of `save_pretrained`. Raises a `ValueError` that names the tensor if a number is too large for
    float16.
    """
    with atomic_write_dir(save_directory) as temporary:
        pipeline.save_pretrained(temporary, card=card)
        if Path(save_directory, CARD_FILE).exists():
            (temporary / CARD_FILE).unlink(missing_ok=True)
        for name, component in pipeline.components.items():
            if not isinstance(component, torch.nn.Module) or isinstance(component, HandBodyModel):
                continue
            for path in sorted((temporary / name).glob("*.safetensors")):
                _halve(path, keep=getattr(component, "_keep_in_fp32_modules", None) or ())
            config = json.loads((temporary / name / "config.json").read_text(encoding="utf-8"))
            if "dtype" in config:
                config["dtype"] = "float32"
                write_json(temporary / name / "config.json", config)


def _widen_config_of_variant(folder: Path) -> None:
    """Has the config of a transformers model that was saved as a variant say float32.

    It is the config of the default weights, too, which stand beside the variant in the end. diffusers' models are
    loaded in float32 where nobody asks for another dtype, be it a variant or not.
    """
    path = folder / "config.json"
    if not path.is_file() or not any(folder.glob("*.safetensors")) or weight_files(folder, None):
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    if "dtype" in config:
        write_json(path, {**config, "dtype": "float32"})


def _halve(path: Path, keep: Collection[str]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and key not in keep:
            tensors[key] = tensor.half()
            if not torch.equal(tensors[key].isfinite(), tensor.isfinite()):
                raise ValueError(f"`{key}` in {path} holds numbers too large for float16.")
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def check_body(sha256: str | None, body: HandBodyModel) -> None:
    """Refuses a body in place of the licensed one that a checkpoint was made with, known by its SHA-256."""
    if sha256 is not None and sha256 != body.config.sha256:
        raise ValueError(
            f"`body_model` has the SHA-256 {body.config.sha256}, but this checkpoint was made with {sha256}; "
            "`body_sha256=None`, or `check_body_model=False` of our own `from_pretrained`, takes it all the same."
        )


def refuse_adapters(name: str, component: Any) -> None:
    """What diffusers writes of its own models with LoRA or an IP-Adapter in them, it cannot read again."""
    if not isinstance(component, ModelMixin) or type(component).__name__ in COMPONENT_CLASSES:
        return
    if adapters := getattr(component, "peft_config", None):
        raise ValueError(
            f"`{name}` holds the LoRA adapters {', '.join(adapters)}, which cannot be saved with the pipeline: "
            "`save_lora_weights` stores them, or `fuse_lora()` and then `unload_lora_weights()` make them part of its "
            "weights."
        )
    config = getattr(component, "config", None)  # several ControlNets together have none
    if getattr(config, "encoder_hid_dim_type", None) == "ip_image_proj":
        raise ValueError(
            f"`{name}` holds an IP-Adapter, which cannot be saved with the pipeline: call `unload_ip_adapter()` "
            "before saving, and `load_ip_adapter(...)` after it and wherever the pipeline is loaded."
        )


def _check_index(cls: type[DiffusionPipeline], name: str, index: dict, options: Mapping[str, Any]) -> None:
    """Refuses an index, before anything is loaded, that no pipeline of this package can have.

    That is one whose text encoder cannot encode hands (it may have none), or with components that are no models,
    schedulers, tokenizers or processors of a library that diffusers loads from. `options` are those of loading.
    """
    check_config(index)
    for key, entry in index.items():
        if not isinstance(entry, list) or entry == [None, None]:
            continue
        known = len(entry) == 2 and all(isinstance(part, str) for part in entry) and key.isidentifier()
        if known and not _is_library(entry[0]):
            known = bool(options.get("trust_remote_code"))
        elif known and key not in options:
            known = is_component_class(_class_of(entry))
        if not known:
            raise ValueError(
                f"Cannot load {cls.__name__}: {cls.config_name} of {name!r} says that `{key}` is "
                f"{json.dumps(entry)}; wanted a model, scheduler, tokenizer or processor of "
                f"{', '.join(sorted(_LIBRARIES))}."
            )
    ours = getattr(diffusers, str(index.get("_class_name")), None)
    entry = index.get("text_encoder")
    library, encoder = entry if isinstance(entry, list) else (None, None)
    stage_1_alone = library is None and isinstance(ours, type) and issubclass(ours, PipelineLoadingMixin)
    if library in (None, "transformers") and not stage_1_alone:
        raise ValueError(
            f"Cannot load {cls.__name__}: {name!r} holds a {index.get('_class_name')} with the text encoder "
            f"{encoder}; wanted a TextHandEncoder. `{cls.__name__}.from_stable_diffusion` adds one."
        )


def _is_library(name: str) -> bool:
    """Whether components may come from it: diffusers itself would take any module that has been imported."""
    return name in (PACKAGE, __name__) or library_of(name) is not None


def _class_of(entry: list[str]) -> Any:
    """What an entry of an index names in a library; `None` if that is nothing, or not one of ours."""
    library, name = entry
    return COMPONENT_CLASSES.get(name) if library in (PACKAGE, __name__) else component_class(library, name)


def _check_components(cls: type[DiffusionPipeline], name: str, folder: Path, options: Mapping[str, Any]) -> None:
    """Checks the index of a pipeline and the folders of what will be loaded: its components, but for those given."""
    index = cls.load_config(folder)
    _check_index(cls, name, index, options)
    refuse_link_outwards(folder / cls.config_name, folder)
    for component, entry in sorted(index.items()):
        if isinstance(entry, list) and entry != [None, None] and component not in options:
            refuse_link_outwards(folder / component, folder)
            found = _class_of(entry) if _is_library(entry[0]) else None
            check_component(folder, component, found, is_ours=found in COMPONENT_CLASSES.values())


def _check_stored_keys(name: str, model: Any, folder: Path, variant: str | None) -> None:
    """Of the components of other libraries; ours have checked themselves."""
    is_ours = type(model).__name__ in COMPONENT_CLASSES
    if isinstance(model, torch.nn.Module) and not is_ours and (folder / name).is_dir():
        check_keys(name, model, folder / name, variant)


def _stored_file(name: str, path: str, where: dict[str, Any]) -> Path:
    """A file of a folder or, downloaded, of a Hub id."""
    return Path(name, path) if os.path.isdir(name) else Path(hf_hub_download(name, path, **where))


def _write_loader(path: Path, *names: str) -> None:
    path.write_text(
        "try:\n"
        f"    from {PACKAGE} import {', '.join(names)}  # noqa: F401\n"
        "except ImportError as error:\n"
        f'    raise ImportError(f"This checkpoint needs {PACKAGE}: {INSTALL} ({{error}})") from error\n',
        encoding="utf-8",
    )
