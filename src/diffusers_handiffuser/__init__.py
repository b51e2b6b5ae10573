"""HanDiffuser for diffusers: images of people whose hands are right.

Importing this package registers its pipeline with diffusers, so that `DiffusionPipeline.from_pretrained` can load it,
and does nothing else: no network, no files, no random numbers. `diffusers_handiffuser.data`, `.evaluation`,
`.repair`, `.studio` and `.training` are imported when they are first used.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from diffusers import ModelMixin  # diffusers' loader asks the package of a component for its base class
from transformers.utils import logging


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without torchvision, transformers warns of every image processor that diffusers imports. None is used here."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


with _quiet_transformers():
    from diffusers.pipelines.auto_pipeline import (
        AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        AUTO_INPAINT_PIPELINES_MAPPING,
        AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    )

    from .detection import DetectedHand, FittedHands, find_hands, fit_hands
    from .hands import HandBodyModel, HandGeometry, HandParams
    from .hub.custom_pipelines import prefer_defined_pipelines
    from .models import TextHandEncoder, TextToHandParamsModel
    from .modular_pipelines import (
        HanDiffuserBlocks,
        HanDiffuserDecodeStep,
        HanDiffuserDenoiseStep,
        HanDiffuserEncodeStep,
        HanDiffuserModularPipeline,
        HanDiffuserPredictNoiseStep,
        HanDiffuserPrepareLatentsStep,
        HanDiffuserSampleHandsStep,
        HanDiffuserSchedulerStep,
    )
    from .pipelines import (
        HanDiffuserAdapterPipeline,
        HanDiffuserControlNetImg2ImgPipeline,
        HanDiffuserControlNetInpaintPipeline,
        HanDiffuserControlNetPipeline,
        HanDiffuserImg2ImgPipeline,
        HanDiffuserInpaintPipeline,
        HanDiffuserPipeline,
        HanDiffuserPipelineOutput,
    )
    from .registration import register_library, register_modular_pipeline, register_pipeline
    from .rendering import HandView, OpenPoseKeypoints, read_openpose_json, write_openpose_json
    from .utils.suggestions import did_you_mean

__version__ = "0.1.0"

MINI = os.path.join(os.path.dirname(__file__), "checkpoints", "handiffuser-mini")
"""Folder of the small checkpoint that comes with the package: `HanDiffuserPipeline.from_pretrained(MINI)`."""

__all__ = [
    "MINI",
    "DetectedHand",
    "FittedHands",
    "HanDiffuserAdapterPipeline",
    "HanDiffuserBlocks",
    "HanDiffuserControlNetImg2ImgPipeline",
    "HanDiffuserControlNetInpaintPipeline",
    "HanDiffuserControlNetPipeline",
    "HanDiffuserDecodeStep",
    "HanDiffuserDenoiseStep",
    "HanDiffuserEncodeStep",
    "HanDiffuserImg2ImgPipeline",
    "HanDiffuserInpaintPipeline",
    "HanDiffuserModularPipeline",
    "HanDiffuserPipeline",
    "HanDiffuserPipelineOutput",
    "HanDiffuserPredictNoiseStep",
    "HanDiffuserPrepareLatentsStep",
    "HanDiffuserSampleHandsStep",
    "HanDiffuserSchedulerStep",
    "HandBodyModel",
    "HandGeometry",
    "HandParams",
    "HandView",
    "ModelMixin",
    "OpenPoseKeypoints",
    "RepairOutput",
    "TextHandEncoder",
    "TextToHandParamsModel",
    "__version__",
    "find_hands",
    "fit_hands",
    "read_openpose_json",
    "repair_hands",
    "write_openpose_json",
]

_LAZY_MODULES = ("data", "evaluation", "repair", "studio", "training")
_LAZY_NAMES = {"RepairOutput": "repair", "repair_hands": "repair"}
"""The room of each."""

register_library()
register_pipeline(HanDiffuserPipeline, AUTO_TEXT2IMAGE_PIPELINES_MAPPING)
register_pipeline(HanDiffuserControlNetPipeline, AUTO_TEXT2IMAGE_PIPELINES_MAPPING, "handiffuser-controlnet")
register_pipeline(HanDiffuserAdapterPipeline)
register_pipeline(HanDiffuserImg2ImgPipeline, AUTO_IMAGE2IMAGE_PIPELINES_MAPPING)
register_pipeline(HanDiffuserInpaintPipeline, AUTO_INPAINT_PIPELINES_MAPPING)
register_pipeline(HanDiffuserControlNetImg2ImgPipeline, AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, "handiffuser-controlnet")
register_pipeline(HanDiffuserControlNetInpaintPipeline, AUTO_INPAINT_PIPELINES_MAPPING, "handiffuser-controlnet")
register_modular_pipeline(HanDiffuserModularPipeline, HanDiffuserBlocks)
prefer_defined_pipelines()


if TYPE_CHECKING:  # to a type checker that sees `__getattr__`, the package has every name
    from . import data as data
    from . import evaluation as evaluation
    from . import repair as repair
    from . import studio as studio
    from . import training as training
    from .repair import RepairOutput, repair_hands
else:

    def __getattr__(name: str) -> Any:
        if name in _LAZY_MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _LAZY_NAMES:
            return getattr(importlib.import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
        hint = "" if name.startswith("_") else did_you_mean(name, [*__all__, *_LAZY_MODULES]).removesuffix(".")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
