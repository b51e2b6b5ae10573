"""Every pipeline class, with what a call of it needs beside a prompt."""

from dataclasses import dataclass
from typing import Any

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)

CLASSES = (
    HanDiffuserPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserAdapterPipeline,
)


@dataclass
class Case:
    """A pipeline, and what is added to a call of it."""

    pipe: HanDiffuserPipeline
    inputs: dict[str, Any]

    def __call__(self, **changes: Any):
        arguments = {"prompt": "a hand", "num_inference_steps": 2, "output_type": "np", **self.inputs, **changes}
        if arguments.get("prompt_embeds") is not None:
            del arguments["prompt"]
        return self.pipe(**arguments)
