"""The block that decodes latents to images."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ComponentSpec,
    InputParam,
    OutputParam,
)
from diffusers.image_processor import VaeImageProcessor

from ..pipelines.images import vae_factor
from ..pipelines.inputs import check_finite_tensor
from .encoders import HanDiffuserBlock
from .modular_pipeline import HanDiffuserModularPipeline


class HanDiffuserDecodeStep(HanDiffuserBlock):
    """Latents to images."""

    @property
    def description(self) -> str:
        return "Decodes the latents into images"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec("vae", AutoencoderKL)]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("latents", type_hint=torch.Tensor, required=True),
            InputParam("output_type", type_hint=str, default="pil", description="pil, np, pt or latent"),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("images", description="The images, as `output_type` says")]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        vae, latents = components.vae, block_state.latents
        check_finite_tensor("`latents`", latents)
        if block_state.output_type == "latent":
            block_state.images = latents
        else:
            decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
            check_finite_tensor("The decoded image", decoded)
            processor = VaeImageProcessor(vae_scale_factor=vae_factor(vae))
            block_state.images = processor.postprocess(decoded, output_type=block_state.output_type)
        self.set_block_state(state, block_state)
        return components, state
