"""The weights of a run: averaged, gathered from all processes, saved and loaded."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from ...hub.loading import missing_weights, weight_files
from ...hub.saving import strip_load_paths
from ...utils.atomic_files import atomic_write_dir
from .averages import WeightAverages
from .options import EMAOptions

TRAINED_NAME = "trained.safetensors"


class RunWeights:
    """The trained models of a run. Built before `accelerator.prepare`, whose result goes to `start`.

    Args:
        options (`EMAOptions`): of the averages.
        accelerator (`Accelerator`): of `start_run`.
        objective (`torch.nn.Module`): the module that is trained.
        models (`dict[str, torch.nn.Module]`): the models inside it that are saved, by name.
        whole (`bool`): they are trained as a whole; else only their trained parameters get into checkpoints.
    """

    def __init__(
        self,
        options: EMAOptions,
        accelerator: Accelerator,
        objective: torch.nn.Module,
        models: dict[str, torch.nn.Module],
        whole: bool = True,
    ):
        self.options, self.accelerator, self.models, self.whole = options, accelerator, models, whole
        self.sharded = accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        self._check_sharding()
        self.places = {
            name: next(place for place, module in objective.named_modules() if module is model)
            for name, model in models.items()
        }
        self.template: Any = _without_weights(objective) if self.sharded else None

    def _check_sharding(self) -> None:
        """Refuses what cannot work with accelerate's sharding engines."""
        if self.accelerator.distributed_type == DistributedType.FSDP and not self.accelerator.is_fsdp2:
            raise ValueError(
                "FSDP version 1 is not supported: set `fsdp_version: 2` in accelerate's configuration (FSDP_VERSION=2)"
            )
        if self.sharded and not self.whole:
            raise ValueError("LoRA under FSDP or DeepSpeed is not supported; what it trains is small: use plain DDP")
        if self.options.use_ema and self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            stage = self.accelerator.state.deepspeed_plugin.zero_stage
            if stage == 3 or self.accelerator.mixed_precision != "no":
                raise ValueError(
                    "`use_ema` under DeepSpeed needs ZeRO stage 1 or 2 and full precision: the model's own weights, "
                    "which are averaged, are else spread out or rounded. FSDP can average"
                )

    def start(self, objective: torch.nn.Module) -> None:
        """Starts the averages; `objective` is what `accelerator.prepare` made of it."""
        self.objective = objective
        self.averages = WeightAverages(self.options, self.models, self.accelerator.device)

    @contextlib.contextmanager
    def whole_objective(self, averaged: bool = True) -> Iterator[Any]:
        """The objective, unwrapped, with all of its weights: in the main process; the others get `None`.

        A collective operation: sharded weights are gathered from all processes.
        """
        if not self.sharded:
            if not self.accelerator.is_main_process:
                yield None
                return
            with self.averages.in_place() if averaged else contextlib.nullcontext():
                yield self.accelerator.unwrap_model(self.objective)
            return
        with self.averages.in_place() if averaged else contextlib.nullcontext():
            state = self.accelerator.get_state_dict(self.objective)
        if not self.accelerator.is_main_process:
            yield None
            return
        objective = copy.deepcopy(self.template)
        dtypes = {name: value.dtype for name, value in objective.state_dict().items()}  # DeepSpeed's may be half
        objective.load_state_dict({name: value.to(dtypes[name]) for name, value in state.items()}, assign=True)
        yield objective.to(self.accelerator.device)

    def models_inside(self, objective: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """The models inside what `whole_objective` gave."""
        return {name: objective.get_submodule(place) for name, place in self.places.items()}

    def save(self, objectives: list, weights: list, folder: str) -> None:
        """For `accelerator.register_save_state_pre_hook`: each model in the folder of its name, averages in `_ema`."""
        weights.clear()
        save = save_model if self.whole else save_trained
        for suffix in ("", "_ema") if self.averages else ("",):
            with self.whole_objective(averaged=bool(suffix)) as objective:
                for name, model in {} if objective is None else self.models_inside(objective).items():
                    save(model, Path(folder) / f"{name}{suffix}")

    def load(self, objectives: list, folder: str) -> None:
        """For `accelerator.register_load_state_pre_hook`; accelerate itself loads what FSDP and DeepSpeed hold."""
        objectives.clear()
        if not self.sharded:
            for name, model in self.models.items():
                self._load_into(name, model, Path(folder) / name)
        self.averages.load_weights(lambda name: self._load_into(name, self.models[name], Path(folder) / f"{name}_ema"))

    def _load_into(self, name: str, model: Any, folder: Path) -> None:
        if not self.whole:
            load_trained(model, folder)
        elif self.accelerator.distributed_type != DistributedType.FSDP:
            load_model(model, folder)
        else:
            state = type(self.template.get_submodule(self.places[name])).from_pretrained(folder).state_dict()
            place = f"{self.places[name]}." if self.places[name] else ""
            options = StateDictOptions(full_state_dict=True, strict=False)
            set_model_state_dict(self.objective, {place + key: value for key, value in state.items()}, options=options)


def save_model(model: Any, folder: Path) -> None:
    """`save_pretrained`, without this machine's paths."""
    with atomic_write_dir(folder) as temporary:
        model.save_pretrained(temporary, safe_serialization=True)
        strip_load_paths(temporary)


def load_model(model: Any, folder: Path) -> None:
    """Loads the weights that `save_model` wrote into an existing model of the same configuration."""
    loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
    for key in sorted(info["missing_keys"]):  # which transformers draws at random
        raise ValueError(missing_weights(folder.name, key))
    model.load_state_dict(loaded.state_dict())


def load_matching(model: torch.nn.Module, folder: Path) -> None:
    """Loads the weights in a folder that have the same name and shape in a model, and prints how many they are."""
    wanted = model.state_dict()
    stored = {key: value for path in weight_files(folder, None) for key, value in load_file(path).items()}
    found = {key: value for key, value in stored.items() if key in wanted and value.shape == wanted[key].shape}
    model.load_state_dict(found, strict=False)
    print(f"{len(found)} of the {len(wanted)} weights of {type(model).__name__} are those of {folder}")


def save_trained(model: torch.nn.Module, folder: Path) -> None:
    """Writes only the trained parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / TRAINED_NAME)


@torch.no_grad()
def load_trained(model: torch.nn.Module, folder: Path) -> None:
    """Loads what `save_trained` wrote into a model of which the same parameters are trained."""
    found = load_file(folder / TRAINED_NAME)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if found.keys() != wanted.keys():
        odd = sorted(found.keys() ^ wanted.keys())[0]
        raise ValueError(f"{folder / TRAINED_NAME} was written by a run that trained other parameters: {odd} differs")
    for name, parameter in wanted.items():
        parameter.copy_(found[name])


def _without_weights(module: torch.nn.Module) -> torch.nn.Module:
    """A copy with parameters on the `meta` device; buffers are copied."""
    empty = {
        id(parameter): torch.nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in module.parameters()
    }
    return copy.deepcopy(module, empty)
