"""HanDiffuser as Modular Diffusers: blocks that can be recombined, and the pipeline that runs them.

Leaving the first block out (`blocks.sub_blocks.pop("hands")`) leaves hands to the caller: `pipe(hand_params=...)`.
Every block calls the functions that `HanDiffuserPipeline` calls, with its own components, so both give the same image.
There is no block for a safety checker: images are returned as they are.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ConfigSpec,
    ModularPipeline,
    ModularPipelineBlocks,
)
from diffusers.loaders import TextualInversionLoaderMixin
from diffusers.modular_pipelines import modular_pipeline
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from transformers import PreTrainedModel

from ..hub.checked_components import check_component, is_component_class
from ..hub.checked_sizes import sizes_checked
from ..hub.loading import check_keys, one_line_error, refuse_pickles_as_option
from ..hub.loading_lock import one_at_a_time
from ..hub.saving import PushMixin, reset_tokenizer_padding
from ..pipelines.from_stable_diffusion import is_single_file
from ..pipelines.lora_loading import LoraLoadingMixin
from ..pipelines.one_thread import one_thread_at_a_time
from ..pipelines.pipeline_handiffuser import HanDiffuserPipeline
from ..pipelines.pipeline_loading import refuse_adapters
from ..pipelines.saved_defaults import GENERAL_DEFAULTS

MODEL_NAME = "handiffuser"
_LOOKS_INTO_THE_FOLDER = hasattr(modular_pipeline, "_is_local_component")
"""Whether this release of diffusers finds components in a folder whose index does not say where they are."""
SAVED_DEFAULTS = [ConfigSpec(f"default_{name}", None) for name in GENERAL_DEFAULTS]
_PIPELINE_COMPONENTS = (
    "vae",
    "text_encoder",
    "tokenizer",
    "unet",
    "scheduler",
    "hand_tokenizer",
    "hand_text_encoder",
    "text_to_hand_params",
    "text_to_hand_scheduler",
    "body_model",
)


class HanDiffuserModularPipeline(
    PushMixin,
    ModularPipeline,
    StableDiffusionMixin,
    TextualInversionLoaderMixin,
    LoraLoadingMixin,
):
    """Runs [`HanDiffuserBlocks`] or any choice of its blocks; loads what `HanDiffuserPipeline` saves.

    The guidance of the image is the component `guider`, at first a `ClassifierFreeGuidance` of the scale that the
    checkpoint asks for; `update_components(guider=...)` changes it. `save_pretrained` writes a folder that
    `HanDiffuserPipeline` loads, too.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserBlocks

        >>> blocks = HanDiffuserBlocks()
        >>> pipe = blocks.init_pipeline(MINI)
        >>> pipe.load_components()
        >>> image = pipe(prompt="a right hand making a peace sign", output="images")[0]
        ```
    """

    default_blocks_name = "HanDiffuserBlocks"
    _saves_card = True

    def __init__(
        self,
        blocks: ModularPipelineBlocks | None = None,
        pretrained_model_name_or_path: str | os.PathLike | None = None,
        **kwargs: Any,
    ):
        if pretrained_model_name_or_path is not None:  # diffusers loads components from a string alone
            pretrained_model_name_or_path = os.fspath(pretrained_model_name_or_path)
        super().__init__(blocks, pretrained_model_name_or_path, **kwargs)
        if pretrained_model_name_or_path is not None and not _LOOKS_INTO_THE_FOLDER:
            for spec in self._component_specs.values():
                is_here = spec.subfolder and os.path.isdir(os.path.join(pretrained_model_name_or_path, spec.subfolder))
                if is_here and spec.pretrained_model_name_or_path is None:
                    spec.pretrained_model_name_or_path = pretrained_model_name_or_path
        guidance_scale = self.config.get("default_guidance_scale")
        if guidance_scale is not None and "guider" in self.component_names:
            self.guider.guidance_scale = guidance_scale
            self.guider.register_to_config(guidance_scale=guidance_scale)

    @one_at_a_time
    def load_components(
        self, names: list[str] | str | None = None, *args: Any, check_sizes: bool = True, **kwargs: Any
    ) -> None:
        """As in diffusers, from safetensors alone.

        Args:
            names (`str` or `list[str]`, *optional*): the components to load; by default all whose place is known.
            *args: positional arguments of diffusers.
            check_sizes (`bool`): as in `HanDiffuserPipeline.from_pretrained`.
            **kwargs: keyword arguments of diffusers.

        Raises:
            ValueError: if a component is no model, scheduler, tokenizer or processor, or its files are not safetensors
                and JSON of the sizes that its config implies.
        """
        refuse_pickles_as_option(kwargs)
        chosen = [names] if isinstance(names, str) else names
        models: dict[str, bool] = {}
        folders: dict[str, Path] = {}
        with sizes_checked(check_sizes):
            for name, spec in self._component_specs.items():
                if spec.default_creation_method != "from_pretrained" or (chosen is not None and name not in chosen):
                    continue
                found = spec.type_hint
                place = kwargs.get("pretrained_model_name_or_path", spec.pretrained_model_name_or_path)
                if found is not None and not is_component_class(found):
                    raise ValueError(
                        f"Cannot load {type(self).__name__}: {str(place)!r} says that `{name}` is a {found}; wanted a "
                        "model, scheduler, tokenizer or processor."
                    )
                if isinstance(place, str) and os.path.isdir(place):
                    with one_line_error(type(self).__name__, place):
                        check_component(Path(place), spec.subfolder or "", found)
                    folders[name] = Path(place, spec.subfolder or "")
                if isinstance(found, type) and issubclass(found, torch.nn.Module) and not is_single_file(str(place)):
                    models[name] = True
            super().load_components(names, *args, **{"use_safetensors": models, **kwargs})
        for name, folder in folders.items():
            if isinstance(component := getattr(self, name, None), PreTrainedModel):
                try:
                    check_keys(name, component, folder, None)
                except ValueError:  # what was drawn at random must not be used by a caller who goes on
                    self.register_components(**{name: None})
                    raise

    @one_thread_at_a_time
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As in diffusers; a call while another thread is in one raises a `RuntimeError`."""
        return super().__call__(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, and as a `HanDiffuserPipeline` besides, with a model card.

        `push_to_hub` and `card` are those of [`HanDiffuserPipeline`]'s `save_pretrained`.
        """
        super().save_pretrained(save_directory, *args, **kwargs)

    save_pretrained.__wrapped__ = ModularPipeline.save_pretrained  # type: ignore[attr-defined]  # its arguments

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, and as a pipeline besides, so that `HanDiffuserPipeline.from_pretrained` loads the folder.

        Instead of the folder's place on this machine the index names `repo_id` or nothing, which means this folder.
        """
        kwargs.setdefault("overwrite_modular_index", True)
        for name, component in self.components.items():
            reset_tokenizer_padding(component)
            refuse_adapters(name, component)
        super()._save(folder, repo_id, *args, **kwargs)
        self.as_pipeline().save_config(folder)
        path = Path(folder, self.config_name)
        index = json.loads(path.read_text(encoding="utf-8"))
        for entry in index.values():
            if isinstance(entry, list) and entry[2]["pretrained_model_name_or_path"] == folder:
                entry[2]["pretrained_model_name_or_path"] = repo_id
        path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _described_by_card(self) -> HanDiffuserPipeline:
        return self.as_pipeline()

    def as_pipeline(self) -> HanDiffuserPipeline:
        """A `HanDiffuserPipeline` of the components that are here; the others are `None`."""
        components = {name: getattr(self, name, None) for name in _PIPELINE_COMPONENTS}
        defaults = {spec.name: self.config.get(spec.name) for spec in SAVED_DEFAULTS}
        pipeline = HanDiffuserPipeline(
            **components, safety_checker=None, feature_extractor=None, requires_safety_checker=False, **defaults
        )
        pipeline.set_progress_bar_config(**getattr(self, "_progress_bar_config", {}))
        return pipeline
