"""`HanDiffuserInpaintPipeline`: repairs the hands in a given picture."""

from collections.abc import Callable
from typing import Any

import PIL.Image
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.image_processor import PipelineImageInput
from diffusers.utils import logging

from ..hands import HandParams
from ..rendering.conditions import draw_mask
from ..utils.typing import replace_example_docstring
from .component_checks import require
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandCallback
from .hand_sampling import Generators
from .images import are_latents, check_sides, keep_unmasked_pixels, num_prompts, picture_batch, picture_size, spread
from .inputs import (
    LEGACY_CALLBACKS,
    check_arrays,
    check_count,
    check_names,
    check_number,
    check_size,
    check_strength,
    hand_rows,
)
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

logger = logging.get_logger(__name__)


EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> import torch
            >>> from diffusers_handiffuser import MINI, HanDiffuserInpaintPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign", generator=torch.Generator().manual_seed(0))
            >>> inpaint = HanDiffuserInpaintPipeline.from_pipe(pipe)
            >>> repaired = inpaint(
            ...     "a right hand making a peace sign", image=out.images[0], hand_params=out.hand_params
            ... ).images[0]
            ```
"""


class HanDiffuserInpaintPipeline(HandConditioningMixin, StableDiffusionInpaintPipeline):
    """Repaints a part of a picture, by default its hands, with HanDiffuser's conditioning.

    Both kinds of U-Net work: Stable Diffusion's own with four channels and those for inpainting with nine. The
    pipeline shares its components with [`HanDiffuserPipeline`]: `HanDiffuserInpaintPipeline.from_pipe(pipe)`, or
    `AutoPipelineForInpainting.from_pipe(pipe)`. The arguments of the constructor are described in
    [`HandConditioningMixin`].
    """

    @one_thread_at_a_time
    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(  # type: ignore[override]  # `num_images_per_prompt` is a number
        self,
        prompt: str | list[str] | None = None,
        image: PipelineImageInput | None = None,
        mask_image: PipelineImageInput | None = None,
        masked_image_latents: torch.Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        ip_adapter_image: PipelineImageInput | None = None,
        ip_adapter_image_embeds: list[torch.Tensor] | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: dict[str, Any] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callable | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        hand_params: HandParams | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        hand_generator: Generators = None,
        hand_callback_on_step_end: HandCallback | None = None,
        hand_mask_margin: float = 0.03,
        keep_unmasked: bool = True,
        **kwargs: Any,
    ) -> HanDiffuserPipelineOutput | Any:
        """Repaints what the mask marks and leaves every other pixel as it is.

        Arguments that are not listed here are those of `StableDiffusionInpaintPipeline.__call__`, and those of the
        hands are described in [`HanDiffuserPipeline`]'s `__call__`. Which hands are in the picture the caller knows:
        give them as `hand_params`. Hands that stage 1 samples follow the prompt alone, know nothing of `image`, and
        need not lie where the hands of the picture are.

        **Edges.** The mask is hard: a pixel is either repainted or kept. Diffusers cuts a soft mask at one half, and
        so does the result. Kept pixels are those of `image`, bit for bit as `"pil"` and, for float32, as `"np"`, and
        not what the VAE makes of them, so a seam may show along the mask; a wider mask moves it away from the hands,
        and a soft blend can be made of the result with `keep_unmasked=False`. There, and within the mask, pictures
        without hands (`hand_conditioning_scale=0`, or a pipeline without stage 1 and no `hand_params`) are
        `StableDiffusionInpaintPipeline`'s bit for bit. A picture that the safety checker blackens stays black.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the picture to repair, one per
                prompt, or one per result. Result `i` belongs to picture and prompt `i // n`. Arrays `(H, W, C)` and
                tensors `(C, H, W)` hold numbers in `[0, 1]`. Latents are taken too, together with
                `masked_image_latents`, and have no pixels to keep.
            mask_image (like `image`, with one channel, *optional*): white is repainted. If it is not given, the
                outline of the visible hands, given or sampled, widened by `hand_mask_margin`. One that marks nothing
                leaves the picture as it is, with a warning.
            height, width (`int`, *optional*): of the result; else those of `image`, other than in diffusers. Kept
                pixels of a picture that has another size are those of the resized picture.
            padding_mask_crop (`int`, *optional*): repaints a crop around the mask, wider by so many pixels, at
                `height` and `width` (else the U-Net's own size); the result has the size of `image`. For one PIL
                picture, one mask and PIL results.
            strength (`float`): from 0 to 1, the part of the steps that is run; 1 ignores what the mask covers.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one, or one per result. In a list
                each of them encodes a picture that is given once, other than in diffusers, where the first alone does.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): the hands to draw.
            hand_mask_margin (`float`): metres, at the hands' own scale, by which their outline is widened where it
                makes the mask; a finger is about 0.02 wide.
            keep_unmasked (`bool`): whether pixels outside the mask are those of `image`. Otherwise they come from the
                VAE, as in diffusers.

        Returns:
            [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
            hand_params)`.

        Examples:
        """
        num_inference_steps = self.with_default("num_inference_steps", num_inference_steps)
        check_strength(strength, num_inference_steps if timesteps is None and sigmas is None else None)
        check_number("hand_mask_margin", hand_mask_margin, minimum=0)
        check_names("keyword argument", kwargs, LEGACY_CALLBACKS)
        check_size(height, width, self.vae_scale_factor)
        check_count("num_images_per_prompt", num_images_per_prompt)
        check_arrays("mask_image", mask_image)
        pictures = picture_batch("image", image)
        latents_given = are_latents(pictures, self.image_processor)
        if latents_given and masked_image_latents is None:
            raise ValueError("`masked_image_latents` must be given where `image` holds latents, which hide no pixels.")
        size = picture_size(pictures, latents_given, self.vae_scale_factor)
        if height is None and padding_mask_crop is None:
            check_sides("image", size, self.vae_scale_factor, "or `height` and `width` be given")
            height, width = size
        repeats = (prompt, prompt_embeds, num_images_per_prompt)
        num_results = num_prompts(prompt, prompt_embeds) * num_images_per_prompt
        if padding_mask_crop is not None:
            _check_crop(padding_mask_crop, image, mask_image, output_type, num_results)
        pictures = spread("image", pictures, len(pictures), *repeats)
        if mask_image is None:
            self._check_hands_to_outline(prompt, hand_params, hand_conditioning_scale)
        mask_image = self._mask_before_sampling(mask_image, hand_params, repeats, size, hand_mask_margin)
        if mask_image is not None:
            self._check_mask(mask_image, padding_mask_crop)

        arguments, hand_params = self.prepare_call(
            prompt=prompt,
            image=pictures if padding_mask_crop is None else pictures[0],
            masked_image_latents=masked_image_latents,
            height=height,
            width=width,
            padding_mask_crop=padding_mask_crop,
            strength=strength,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            num_images_per_prompt=num_images_per_prompt,
            eta=eta,
            generator=generator,
            latents=latents,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            ip_adapter_image=ip_adapter_image,
            ip_adapter_image_embeds=ip_adapter_image_embeds,
            output_type=output_type,
            cross_attention_kwargs=cross_attention_kwargs,
            clip_skip=clip_skip,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            hand_params=hand_params,
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_conditioning_scale=hand_conditioning_scale,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
            **kwargs,
        )
        if mask_image is None:
            assert hand_params is not None
            mask_image = self.hand_mask(hand_params, *size, margin=hand_mask_margin)
            self._check_mask(mask_image, padding_mask_crop)
        images, nsfw_content_detected = super().__call__(mask_image=mask_image, **arguments)
        if keep_unmasked and output_type != "latent" and not latents_given:
            images = keep_unmasked_pixels(images, pictures, mask_image, nsfw_content_detected)
        output = HanDiffuserPipelineOutput(images, nsfw_content_detected, hand_params)
        return output if return_dict else output.to_tuple()

    def hand_mask(
        self, hand_params: HandParams, height: int, width: int, margin: float = 0.03
    ) -> PIL.Image.Image | list[PIL.Image.Image]:
        """The mask that a call without `mask_image` uses: visible hands and some metres around them, white on black.

        Returns:
            `PIL.Image.Image` of mode "L", or a list of them for more than one row.
        """
        require(self, "an outline of hands", "body_model")
        masks = draw_mask(hand_params, self.body_model, height, width, margin)
        return masks[0] if len(masks) == 1 else masks

    def _encode_vae_image(self, image: torch.Tensor, generator: Any) -> torch.Tensor:
        """As in diffusers, but of one picture and several generators each one encodes it, not the first alone.

        So a result is the same with others beside it as alone.
        """
        if isinstance(generator, list) and len(image) == 1:
            image = image.expand(len(generator), -1, -1, -1)
        return super()._encode_vae_image(image, generator)

    def _mask_before_sampling(
        self,
        mask_image: PipelineImageInput | None,
        hand_params: HandParams | None,
        repeats: tuple[Any, Any, int],
        size: tuple[int, int],
        margin: float,
    ) -> PipelineImageInput | None:
        """The given mask or the outline of given hands, for each result; `None` where the hands are yet to come."""
        if mask_image is not None:
            return spread("mask_image", mask_image, len(self.mask_processor.preprocess(mask_image)), *repeats)
        if hand_params is None:
            return None
        prompt, prompt_embeds, num_images = repeats
        return self.hand_mask(hand_rows(hand_params, num_prompts(prompt, prompt_embeds), num_images), *size, margin)

    def _check_mask(self, mask_image: PipelineImageInput, padding_mask_crop: int | None) -> None:
        """Warns of a mask that marks nothing in any picture, and refuses it where it says what to crop."""
        if self.mask_processor.preprocess(mask_image).any():
            return
        if padding_mask_crop is not None:
            raise ValueError(
                "`padding_mask_crop` needs something to crop around, but `mask_image`, or the outline of the visible "
                "hands in its place, marks nothing in the picture."
            )
        logger.warning(
            "Nothing will be repainted: `mask_image`, or the outline of the visible hands in its place, is empty."
        )

    def _check_hands_to_outline(
        self, prompt: str | list[str] | None, hand_params: HandParams | None, hand_conditioning_scale: float
    ) -> None:
        require(self, "an outline of hands", "body_model")
        sampled = self.text_to_hand_params is not None and prompt is not None and hand_conditioning_scale != 0
        if hand_params is None and not sampled:
            raise ValueError("`mask_image` must be given, as there are no hands whose outline could be the mask.")


def _check_crop(
    padding_mask_crop: Any, image: Any, mask_image: Any, output_type: str | None, num_results: int
) -> None:
    """diffusers crops around one mask, from PIL pictures to PIL pictures, and would say so after the hands."""
    if not isinstance(padding_mask_crop, int) or isinstance(padding_mask_crop, bool) or padding_mask_crop < 0:
        raise ValueError(
            f"`padding_mask_crop` must be a whole number of pixels of at least 0, got {padding_mask_crop!r}."
        )
    for name, value in (("image", image), ("mask_image", mask_image)):
        if not isinstance(value, PIL.Image.Image) and not (name == "mask_image" and value is None):
            raise ValueError(f"`padding_mask_crop` takes one PIL picture as `{name}`, got {type(value).__name__}.")
    if mask_image is None and num_results > 1:
        raise ValueError(
            f"`padding_mask_crop` crops around one mask: `mask_image` must be given for {num_results} results, "
            "as each of them has hands of its own."
        )
    if output_type != "pil":
        raise ValueError(f"`padding_mask_crop` makes PIL pictures: `output_type` must be 'pil', got {output_type!r}.")
