"""Checkpoint validation on top of diffusers and transformers.

They fall back to pickles where safetensors are absent, initialise missing weights, only warn about unexpected ones,
and load numbers that are not finite. Here each of these is an error that names the model and the key. Damaged folders
make them fail in many ways; here that is a one-line error that names the folder.
"""

import contextlib
import functools
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from accelerate import init_empty_weights
from diffusers import ModelMixin
from diffusers.pipelines import pipeline_utils
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from ..utils.messages import reason_of
from ..utils.typing import MixinBase
from .checked_configs import check_config, check_types
from .checked_files import check_files
from .checked_sizes import check_size, sizes_checked
from .loading_lock import one_at_a_time
from .offline import heed_offline_mode, weights_instead
from .places import refuse_absent

_KNOWS_DTYPE = hasattr(pipeline_utils, "_resolve_dtype")
"""Whether this release of diffusers calls the argument `dtype`; older ones only know `torch_dtype`."""
HUB_ARGUMENTS = ("cache_dir", "force_download", "proxies", "local_files_only", "token", "revision", "subfolder")
_files_to_check: ContextVar[Callable[[], tuple[Path, str]] | None] = ContextVar("files_to_check", default=None)
_ABSENT = re.compile(r"no file named (\S+)\.safetensors found in directory (.*?)\.?$", re.MULTILINE)
_DAMAGED_FILE_ERRORS = (
    *(OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError, AssertionError, ArithmeticError),
    *(EOFError, MemoryError, SafetensorError, StrictDataclassError),
)
"""What loaders raise on damaged files. Anything else comes from the caller: a hook, a quantizer."""


class CheckedLoadingMixin(MixinBase):
    """Loading of this package's models. Mix in before `ModelMixin`."""

    @classmethod
    @one_at_a_time
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *, check_sizes: bool | None = None, **kwargs: Any
    ) -> Self:
        """As in diffusers, but from safetensors only.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): a folder or a Hub id.
            check_sizes (`bool`, *optional*): refuse a config that asks for a model much larger than the weights beside
                it, or that holds implausibly large integers; `True` unless the model is part of a pipeline that is
                loaded with `check_sizes=False`.
            kwargs: those of diffusers.

        Raises:
            OSError: there is no such model, or it is damaged.
            ValueError: its weights are pickled, missing, unexpected, not finite or outside its folder, or its config
                belongs to another class or asks for too much.
        """
        output_loading_info = kwargs.pop("output_loading_info", False)
        kwargs = heed_offline_mode(rename_dtype_kwarg(kwargs))
        refuse_pickles_as_option(kwargs)
        name, subfolder = os.fspath(pretrained_model_name_or_path), kwargs.get("subfolder") or ""
        place = os.path.join(name, subfolder)
        hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
        refuse_absent(name, f"Cannot load {cls.__name__}", **hub)
        with one_line_error(cls.__name__, place), sizes_checked(check_sizes), _checked_before_reading(name, hub):
            if os.path.isdir(name):
                check_files(Path(name), subfolder)
            config = cls.load_config(name, **hub)
            cls._check_stored_config(place, config)
            kwargs["use_safetensors"] = True
            label = os.path.basename(os.path.normpath(place))
            try:
                model, info = super().from_pretrained(
                    pretrained_model_name_or_path, output_loading_info=True, **kwargs
                )
            except NotImplementedError as error:  # raised for missing weights under `device_map`
                with init_empty_weights():
                    wanted = cls.from_config(config).state_dict()
                for key in sorted(wanted.keys() - _stored_keys(Path(place), kwargs.get("variant")).keys()):
                    raise ValueError(missing_weights(label, key)) from error
                raise
            except OSError as error:
                instead = weights_instead(name, os.path.join(subfolder, cls.config_name), kwargs)
                if absent := _ABSENT.search(str(error)):
                    stem, folder = absent.groups()
                    raise OSError(
                        f"Error no file named {stem}.bin found in directory {folder} (diffusers' words), and none "
                        f"named {stem}.safetensors, which is the one that is read{instead}"
                    ) from error
                if not instead:
                    raise
                raise OSError(f"{reason_of(error)}{instead}") from error
            for key in sorted(info.get("missing_keys", ())):
                raise ValueError(missing_weights(label, key))
            for key in sorted(info.get("unexpected_keys", ())):
                raise ValueError(_unexpected(label, key))
            check_finite_weights(label, model)
        # As in diffusers, `output_loading_info=True` alone gives a pair.
        return (model, info) if output_loading_info else model  # type: ignore[return-value]

    @classmethod
    def from_config(cls, config: Any = None, **kwargs: Any) -> Self:
        """As in diffusers; inside `from_pretrained`, checks the files before weights are read from them."""
        build = functools.partial(super().from_config, config, **kwargs)
        if find_files := _files_to_check.get():
            _files_to_check.set(None)
            folder, subfolder = find_files()
            check_files(folder, subfolder)
            place = folder / subfolder
            described = json.dumps([config, kwargs], sort_keys=True, default=repr)
            check_size(os.path.basename(os.path.normpath(place)), build, place, cls, described)
        return build()

    @classmethod
    def _check_stored_config(cls, place: str, config: Any) -> None:
        """Refuses a config that is invalid for this class; `place` is where it was found."""
        check_config(config)
        check_types(config, cls)


@contextlib.contextmanager
def _checked_before_reading(name: str, hub: Mapping[str, Any]) -> Iterator[None]:
    """Makes the model loaded inside check its files: those of a Hub id once they are downloaded."""

    def find_files() -> tuple[Path, str]:
        subfolder = hub.get("subfolder") or ""
        if os.path.isdir(name):
            return Path(name), subfolder
        where = {key: hub[key] for key in ("cache_dir", "token", "revision", "subfolder") if key in hub}
        config = Path(hf_hub_download(name, "config.json", local_files_only=True, **where))
        return config.parents[len(Path(subfolder).parts)], subfolder

    token = _files_to_check.set(find_files)
    try:
        yield
    finally:
        _files_to_check.reset(token)


@contextlib.contextmanager
def one_line_error(what: str, place: str) -> Iterator[None]:
    """Turns any error of damaged files into one line that says what could not be loaded from where."""
    try:
        yield
    except ImportError:
        raise
    except _DAMAGED_FILE_ERRORS as error:
        is_ours_or_clear = isinstance(error, (OSError, ValueError)) and place in str(error)
        if is_ours_or_clear and " ".join(str(error).split()) == str(error):
            raise
        reason = reason_of(error)
        if not isinstance(error, (OSError, ValueError, SafetensorError, TypeError, RuntimeError)):
            reason = f"{type(error).__name__}: {reason}"
        kind = OSError if isinstance(error, (OSError, SafetensorError, RuntimeError)) else ValueError
        raise kind(f"Cannot load {what} from {place!r}: {reason}.") from error


def rename_dtype_kwarg(options: Mapping[str, Any]) -> dict[str, Any]:
    """Loading options with `dtype` under the name that this release of diffusers expects."""
    return {"torch_dtype" if key == "dtype" and not _KNOWS_DTYPE else key: value for key, value in options.items()}


def refuse_pickles_as_option(kwargs: Mapping[str, Any]) -> None:
    """Refuses the loading option `use_safetensors=False`."""
    if kwargs.get("use_safetensors") is False:
        raise ValueError("`use_safetensors=False` asks for pickled weights, which are not read here; leave it out.")


def check_finite_weights(name: str, model: torch.nn.Module) -> None:
    """Refuses a model with numbers that are not finite. Weights on the meta device are skipped."""
    for key, value in model.state_dict().items():
        if not value.is_floating_point() or value.is_meta or not value.numel():
            continue
        # Ten times as fast as `isfinite`; NaN is propagated to both.
        extremes = torch.aminmax(value if value.element_size() > 1 else value.float())
        if not all(math.isfinite(extreme) for extreme in extremes):
            raise ValueError(f"`{name}` has numbers that are not finite in {key!r}")


def check_loaded(name: str, model: torch.nn.Module) -> None:
    """Refuses a model with parameters or buffers on the meta device, except those that offloading keeps there.

    diffusers leaves weights there that a checkpoint does not hold. transformers initialises those at random: its
    models have weights there only if another thread interfered.
    A model of transformers whose config is that of another architecture is refused: all of its weights are random.
    """
    if isinstance(model, PreTrainedModel):
        _check_architecture(name, model)
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        return
    for key, value in itertools.chain(model.named_parameters(), model.named_buffers()):
        if value.is_meta and isinstance(model, ModelMixin):
            raise ValueError(missing_weights(name, key))
        if value.is_meta:
            raise ValueError(
                f"`{name}` was left without weights (the first is {key!r}), as another thread loaded a model at the "
                "same time; load again, one model at a time, and restart this process if that does not help."
            )


def _check_architecture(name: str, model: PreTrainedModel) -> None:
    stored = next(iter(getattr(model.config, "architectures", None) or ()), None)
    found = getattr(transformers, stored, None) if isinstance(stored, str) else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        return
    parts = getattr(found.config_class, "sub_configs", {}).values()
    if type(model).config_class not in (found.config_class, *parts):
        raise ValueError(
            f"`{name}` was loaded as a {type(model).__name__}, but its checkpoint is a {stored}: its weights are "
            "random. The index of the pipeline has to name the class that was saved."
        )


def check_keys(name: str, model: torch.nn.Module, folder: Path, variant: str | None) -> None:
    """Refuses a model of diffusers or transformers whose file holds other weights than it: they warn at most.

    Args:
        name (`str`): the component's name.
        model (`torch.nn.Module`): as it was loaded from `folder`.
        folder (`Path`): the folder of its config and weights.
        variant (`str`, *optional*): the requested variant.
    """
    stored = _stored_keys(folder, variant)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if stored else {}
    is_of_class = _is_of_class(model, config)
    if not stored or config.get("quantization_config") or (not is_of_class and isinstance(model, ModelMixin)):
        return
    if isinstance(model, ModelMixin):
        if fix := getattr(model, "_fix_state_dict_keys_on_load", None):
            fix(stored)
        wanted = dict.fromkeys(model.state_dict())
    else:
        # Since 5.6 transformers drops a prefix from every key and still reads older files; earlier releases do not
        # read newer ones, and only warn.
        wanted = dict.fromkeys(model.state_dict())
        plain = {_without_tower(key): None for key in wanted}
        stored = {
            key if key in wanted or (short := _without_tower(key)) not in plain else short: None for key in stored
        }
        stored = {key: None for key in stored if not key.endswith("position_ids") or key in wanted}
        if not is_of_class:  # it is part of a larger model, or its weights have been drawn at random
            stored |= dict.fromkeys(key.removeprefix(f"{model.base_model_prefix}.") for key in stored)
    for key in wanted.keys() - stored.keys() - _tied_keys(model):
        raise ValueError(missing_weights(name, key))
    for key in sorted(stored.keys() - wanted.keys()) if is_of_class else ():
        if not any(
            re.search(known, key) for known in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
        ):
            raise ValueError(_unexpected(name, key))


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """The files that loading reads: those of the variant if there are any, else those without one."""
    files = list(folder.glob("*.safetensors"))
    chosen = [path for path in files if variant and re.search(rf"\.{re.escape(variant)}[.-]", path.name)]
    return chosen or [path for path in files if path.name.count(".") == 1]


def _stored_keys(folder: Path, variant: str | None) -> dict[str, None]:
    """Keys of the weights that loading reads."""
    keys: dict[str, None] = {}
    for path in weight_files(folder, variant):
        with safe_open(path, framework="pt") as file:
            keys |= dict.fromkeys(file.keys())
    return keys


def _is_of_class(model: torch.nn.Module, config: Mapping[str, Any]) -> bool:
    """Whether the config belongs to this model, and not to one of several in numbered folders."""
    return type(model).__name__ in (config.get("_class_name"), *(config.get("architectures") or ()))


def _without_tower(key: str) -> str:
    return key.removeprefix("text_model.").removeprefix("vision_model.")


def _tied_keys(model: torch.nn.Module) -> set[str]:
    """Keys that share memory with an earlier one, which is the one that a file holds."""
    seen: set[int] = set()
    tied = set()
    for key, value in model.state_dict(keep_vars=True).items():
        if id(value) in seen:
            tied.add(key)
        seen.add(id(value))
    return tied


def missing_weights(name: str, key: str) -> str:
    """The message for a component whose checkpoint lacks weights."""
    return f"`{name}` has no weights for {key!r}; its checkpoint is incomplete, or another model's."


def _unexpected(name: str, key: str) -> str:
    return f"`{name}` has no place for the weights {key!r} of its checkpoint, which is another model's."
