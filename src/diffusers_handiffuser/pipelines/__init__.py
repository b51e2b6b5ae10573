"""Sampling: hands from text (stage 1), and the image from text and hands (stage 2).

`hand_conditioning` holds everything that hands add to a Stable Diffusion pipeline; `pipeline_handiffuser` is the
text-to-image pipeline made of it, and its neighbours are the same for image-to-image and inpainting (`image_to_image`,
`inpainting`), and with ControlNets (`controlnets`) and T2I-Adapters.
"""

from ..utils.moved import moved_names
from .hand_conditioning import HandConditioningMixin
from .pipeline_handiffuser import HanDiffuserPipeline
from .pipeline_handiffuser_adapter import HanDiffuserAdapterPipeline
from .pipeline_handiffuser_controlnet import HanDiffuserControlNetPipeline
from .pipeline_handiffuser_controlnet_img2img import HanDiffuserControlNetImg2ImgPipeline
from .pipeline_handiffuser_controlnet_inpaint import HanDiffuserControlNetInpaintPipeline
from .pipeline_handiffuser_img2img import HanDiffuserImg2ImgPipeline
from .pipeline_handiffuser_inpaint import HanDiffuserInpaintPipeline
from .pipeline_output import HanDiffuserPipelineOutput

__all__ = [
    "HanDiffuserAdapterPipeline",
    "HanDiffuserControlNetImg2ImgPipeline",
    "HanDiffuserControlNetInpaintPipeline",
    "HanDiffuserControlNetPipeline",
    "HanDiffuserImg2ImgPipeline",
    "HanDiffuserInpaintPipeline",
    "HanDiffuserPipeline",
    "HanDiffuserPipelineOutput",
    "HandConditioningMixin",
]

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        (
            "HanDiffuserBlocks",
            "HanDiffuserDecodeStep",
            "HanDiffuserDenoiseStep",
            "HanDiffuserEncodeStep",
            "HanDiffuserModularPipeline",
            "HanDiffuserPredictNoiseStep",
            "HanDiffuserPrepareLatentsStep",
            "HanDiffuserSampleHandsStep",
            "HanDiffuserSchedulerStep",
        ),
        "diffusers_handiffuser.modular_pipelines",
    ),
)
