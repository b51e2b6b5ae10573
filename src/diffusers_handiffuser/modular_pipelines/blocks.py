"""All blocks of text-to-image, in their order."""

from diffusers import (
    OutputParam,
    SequentialPipelineBlocks,
)

from ..hands import HandParams
from .decoders import HanDiffuserDecodeStep
from .denoise import HanDiffuserDenoiseStep, HanDiffuserPrepareLatentsStep
from .encoders import HanDiffuserEncodeStep, HanDiffuserSampleHandsStep
from .modular_pipeline import MODEL_NAME


class HanDiffuserBlocks(SequentialPipelineBlocks):
    """From a prompt to images with the right hands."""

    model_name = MODEL_NAME
    block_classes = [
        HanDiffuserSampleHandsStep,
        HanDiffuserEncodeStep,
        HanDiffuserPrepareLatentsStep,
        HanDiffuserDenoiseStep,
        HanDiffuserDecodeStep,
    ]
    block_names = ["hands", "encode", "prepare_latents", "denoise", "decode"]

    @property
    def description(self) -> str:
        return "Text to image by way of hands, after HanDiffuser"

    @property
    def outputs(self) -> list[OutputParam]:
        return [OutputParam("images"), OutputParam("hand_params", type_hint=HandParams)]
