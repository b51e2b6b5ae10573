"""HanDiffuser as Modular Diffusers: blocks that can be recombined, and the pipeline that runs them."""

from .blocks import HanDiffuserBlocks
from .decoders import HanDiffuserDecodeStep
from .denoise import (
    HanDiffuserDenoiseStep,
    HanDiffuserPredictNoiseStep,
    HanDiffuserPrepareLatentsStep,
    HanDiffuserSchedulerStep,
)
from .encoders import HanDiffuserEncodeStep, HanDiffuserSampleHandsStep
from .modular_pipeline import HanDiffuserModularPipeline

__all__ = [
    "HanDiffuserBlocks",
    "HanDiffuserDecodeStep",
    "HanDiffuserDenoiseStep",
    "HanDiffuserEncodeStep",
    "HanDiffuserModularPipeline",
    "HanDiffuserPredictNoiseStep",
    "HanDiffuserPrepareLatentsStep",
    "HanDiffuserSampleHandsStep",
    "HanDiffuserSchedulerStep",
]
