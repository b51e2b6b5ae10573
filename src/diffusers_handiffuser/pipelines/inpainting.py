"""Inpainting by way of hands: what repaints the hands of an image, with a ControlNet beside or without."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import PIL.Image
import torch
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.utils import logging

from ..detection.finding import AnyDetector
from ..hands import HandParams, ImageCrop
from ..rendering.surfaces import draw_mask
from ..utils.typing import MixinBase
from .canvas import Canvas
from .component_checks import require
from .hand_inputs import FIT, HandInputs, check_prompts
from .image_hands import fit_hands_of_images, hands_under_mask
from .images import (
    Images,
    ResultCounts,
    hard_masks,
    image_batch,
    image_size,
    image_sizes,
    is_latent,
    keep_unmasked_pixels,
    repeat_per_result,
    upright_masks,
)
from .inputs import check_count, check_finite_arrays, check_scalar, check_size, check_strength, hand_rows

logger = logging.get_logger(__name__)

INPAINTING_DOC = """
        Repaints what the mask marks and leaves every other pixel as it is.

        Which hands are in the image the caller knows:
        give them as `hand_params`, or have them found there by `hand_params="fit"`. Hands that stage 1 samples follow
        the prompt alone, know nothing of `image`, and need not lie where the hands of the image are; a warning names
        results whose mask marks nothing of them. All of these, and the hands of the output, are in the camera of
        `image`: where it is cropped or resized, to another aspect too, the joints that the U-Net is conditioned on
        follow.

        **Edges.** The mask is hard: a pixel is either repainted or kept. Diffusers cuts a soft mask at one half, and
        so does the result. Kept pixels are those of `image`, bit for bit as `"pil"` and, for float32, as `"np"`, and
        not what the VAE makes of them, so a seam may show along the mask; a wider mask moves it away from the hands,
        and a soft blend can be made of the result with `keep_unmasked=False`. There, and within the mask, images
        without hands (`hand_conditioning_scale=0`, or a pipeline without stage 1 and no `hand_params`) are
        diffusers' bit for bit. An image that the safety checker blackens stays black.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the image to repair, one per
                prompt, or one per result. Result `i` belongs to image and prompt `i // n`. Arrays `(H, W, C)` and
                tensors `(C, H, W)` hold numbers in `[0, 1]`. Sides that the VAE's factor does not divide are padded
                for the U-Net, by their last pixels, and cut back in the result; as `"latent"`, it is padded.
            mask_image (like `image`, with one channel, *optional*): white is repainted. If it is not given, the
                outline of the visible hands, given or sampled, widened by `hand_mask_margin`. One that marks nothing
                leaves the image as it is, with a warning.
            height, width (`int`, *optional*): of the result; else those of `image`, other than in diffusers. Kept
                pixels of an image that has another size are those of the resized image.
            padding_mask_crop (`int`, *optional*): repaints a crop around the mask, wider by so many pixels, at
                `height` and `width` (else the U-Net's own size); the result has the size of `image`. For one PIL
                image, one mask and PIL results.
            strength (`float`): from 0 to 1, the part of the steps that is run; 1 ignores what the mask covers.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one, or one per result. In a list
                each of them encodes an image that is given once, other than in diffusers, where the first alone does.
"""
"""Introduction and arguments of `__call__`, to which a class adds its own and an example."""


@dataclass(frozen=True)
class InpaintHandInputs(HandInputs):
    """The hand arguments of a call, and how their outline makes a mask.

    Args:
        hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, or `"fit"`, *optional*): hands to draw instead
            of sampled ones; `"fit"` takes those of `image`, found and fitted by `fit_hands`. Each image has to show
            the hands of one person then, or `mask_image` to mark those of one person alone; else an error names the
            image.
        hand_mask_margin (`float`): metres, at the hands' own scale, by which their outline is widened where it makes
            the mask; a finger is about 0.02 wide.
        keep_unmasked (`bool`): whether pixels outside the mask are those of `image`. Otherwise they come from the VAE,
            as in diffusers.
        hand_detector (`HandDetector`, `str` or `Path`, *optional*): what finds hands for `hand_params="fit"`, see
            `find_hands`; by default MediaPipe.
    """

    fits_image: ClassVar[bool] = True

    hand_params: HandParams | str | None = None  # type: ignore[assignment]  # text until the hands are fitted
    hand_mask_margin: float = 0.03
    keep_unmasked: bool = True
    hand_detector: AnyDetector = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scalar("hand_mask_margin", self.hand_mask_margin, minimum=0)
        if self.hand_detector is not None and self.hand_params != FIT:
            raise ValueError(f"`hand_detector` finds hands for `hand_params={FIT!r}`, which is not given.")


class InpaintingMixin(MixinBase):
    """Gives an inpainting pipeline hands and kept pixels; stands before `HandConditioningMixin` in the bases."""

    @property
    def side_multiple(self) -> int:
        """What divides the sides of all that is drawn, pixels."""
        return self.vae_scale_factor

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        assert isinstance(hands, InpaintHandInputs)
        image, mask_image, crop = call["image"], upright_masks(call.pop("mask_image")), call["padding_mask_crop"]
        steps = self.with_default("num_inference_steps", call["num_inference_steps"])
        counted = call.get("timesteps") is None and call.get("sigmas") is None
        check_strength(call["strength"], steps if counted else None)
        check_size(call["height"], call["width"], self.side_multiple)
        check_count("num_images_per_prompt", call["num_images_per_prompt"])
        check_finite_arrays("mask_image", mask_image)
        images = image_batch("image", image)
        self.check_images(call, images, hands)
        latents_given = is_latent(images, self.image_processor)
        height, width = image_size(images, latents_given, self.vae_scale_factor)
        counts = ResultCounts.of(call)
        if crop is not None:
            _check_crop(crop, image, mask_image, call["output_type"], counts.results)
        given, images = images, repeat_per_result("image", images, len(images), counts)
        call["image"] = images if crop is None else images[0]
        sizes = [(width, height)] * len(images) if latents_given else image_sizes(images)
        if mask_image is None:
            self._check_hands_to_outline(call["prompt"], hands)
        else:
            mask_image = repeat_per_result("mask_image", mask_image, len(hard_masks(mask_image)), counts)
        if hands.hand_params == FIT:
            require(self, f"`hand_params={FIT!r}`", "body_model")
            check_prompts(call["prompt"], call["negative_prompt"], call["prompt_embeds"], hand_params=FIT)
            fitted = fit_hands_of_images(given, mask_image, hands.hand_detector, self.body_model, counts)
            hands = replace(hands, hand_params=fitted, hand_detector=None)
        if mask_image is None and hands.hand_params is not None:
            rows = hand_rows(hands.hand_params, counts.prompts, counts.images_per_prompt)
            mask_image = self._outline(rows, sizes, hands.hand_mask_margin)
        if mask_image is not None:
            self._check_mask(mask_image, crop)

        def canvas() -> Canvas:
            if crop is not None:
                side = self.unet.config.sample_size * self.vae_scale_factor
                drawn = (call["width"] or side, call["height"] or side)
                return Canvas(drawn, drawn, self.mask_processor.get_crop_region(mask_image, *drawn, pad=crop))
            if call["height"] is None:
                return Canvas.padded((width, height), self.side_multiple)
            return Canvas.padded((call["width"], call["height"]), 1)

        def hand_crops(rows: HandParams) -> Sequence[ImageCrop]:
            nonlocal mask_image
            if mask_image is None:  # the hands have been sampled now
                mask_image = self._outline(rows, sizes, hands.hand_mask_margin)
                self._check_mask(mask_image, crop)
            elif hands.hand_params is None:
                self._warn_of_hands_beside_mask(rows, mask_image, sizes)
            return canvas().crops(sizes, len(rows))

        output_type = call["output_type"]
        prepared, hand_params = self.prepare_call(call, hands, hand_crops, image_sizes=sizes)
        results, nsfw_content_detected = self._repaint(prepared, mask_image, canvas())
        if hands.keep_unmasked and output_type != "latent" and not latents_given:
            results = keep_unmasked_pixels(results, images, mask_image, nsfw_content_detected)
        return results, nsfw_content_detected, hand_params

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

    def check_images(self, call: dict[str, Any], images: Images, hands: HandInputs) -> None:
        """Refuses images that a call cannot do with: latents that lack something."""
        if not is_latent(images, self.image_processor):
            return
        if hands.hand_params == FIT:
            raise ValueError(f"`hand_params={FIT!r}` finds hands among pixels, but `image` holds latents.")
        if call["masked_image_latents"] is None:
            raise ValueError("`masked_image_latents` must be given where `image` holds latents, which hide no pixels.")

    def arguments_on_canvas(self, call: dict[str, Any], canvas: Canvas) -> dict[str, Any]:
        """Arguments of the inherited call that show what `image` shows, as they are drawn."""
        return {}

    def _repaint(self, call: dict[str, Any], mask_image: Any, canvas: Canvas) -> tuple[Any, list[bool] | None]:
        """The inherited call, whose results have the size of the images, padded or not."""
        call["width"], call["height"] = canvas.drawn
        call |= self.arguments_on_canvas(call, canvas)
        if canvas.is_padded:
            call["image"] = canvas.preprocess(call["image"], VaeImageProcessor(do_normalize=False))
            mask_image = canvas.pad_masks(mask_image)
        results, nsfw_content_detected = super().__call__(mask_image=mask_image, **call)
        if canvas.is_padded and call["output_type"] != "latent":
            results = canvas.cut(results)
        return results, nsfw_content_detected

    def _encode_vae_image(self, image: torch.Tensor, generator: Any) -> torch.Tensor:
        """As in diffusers, but of one image and several generators each one encodes it, not the first alone.

        So a result is the same with others beside it as alone.
        """
        if isinstance(generator, list) and len(image) == 1:
            image = image.expand(len(generator), -1, -1, -1)
        return super()._encode_vae_image(image, generator)

    def _outline(
        self, hand_params: HandParams, sizes: list[tuple[int, int]], margin: float
    ) -> PIL.Image.Image | list[PIL.Image.Image]:
        """The outline of each row's hands, of the size of its image: one width and height for all, or one per row."""
        if len(set(sizes)) == 1:
            width, height = sizes[0]
            return self.hand_mask(hand_params, height, width, margin)
        masks: list[Any] = [
            self.hand_mask(row, height, width, margin) for row, (width, height) in zip(hand_params, sizes, strict=True)
        ]
        return masks

    def _check_mask(self, mask_image: PipelineImageInput, padding_mask_crop: int | None) -> None:
        """Warns of a mask that marks nothing in any image, and refuses it where it says what to crop."""
        if hard_masks(mask_image).any():
            return
        if padding_mask_crop is not None:
            raise ValueError(
                "`padding_mask_crop` needs something to crop around, but `mask_image`, or the outline of the visible "
                "hands in its place, marks nothing in the image."
            )
        logger.warning(
            "Nothing will be repainted: `mask_image`, or the outline of the visible hands in its place, is empty."
        )

    def _warn_of_hands_beside_mask(
        self, hand_params: HandParams, mask_image: PipelineImageInput, sizes: list[tuple[int, int]]
    ) -> None:
        """Names results with sampled hands of which their mask, unless it is empty, marks nothing."""
        masked = hard_masks(mask_image).flatten(1).any(1).tolist()
        beside = [
            str(row)
            for row, marked in enumerate(hands_under_mask(hand_params, mask_image, sizes, self.body_model))
            if not marked and masked[row % len(masked)] and hand_params.hand_visible[row].any()
        ]
        if beside:
            logger.warning(
                "The hands that stage 1 sampled know nothing of `image` and lie wholly outside `mask_image` in result "
                f'{", ".join(beside)}: `hand_params="fit"` takes the hands of the image instead.'
            )

    def _check_hands_to_outline(self, prompt: str | list[str] | None, hands: HandInputs) -> None:
        require(self, "an outline of hands", "body_model")
        sampled = self.text_to_hand_params is not None and prompt is not None and hands.hand_conditioning_scale != 0
        if hands.hand_params is None and not sampled:
            raise ValueError("`mask_image` must be given, as there are no hands whose outline could be the mask.")


def _check_crop(
    padding_mask_crop: Any, image: Any, mask_image: Any, output_type: str | None, num_results: int
) -> None:
    """Refuses crops that diffusers cannot make: it would refuse them only after the hands are sampled."""
    if not isinstance(padding_mask_crop, int) or isinstance(padding_mask_crop, bool) or padding_mask_crop < 0:
        raise ValueError(
            f"`padding_mask_crop` must be a whole number of pixels of at least 0, got {padding_mask_crop!r}."
        )
    for name, value in (("image", image), ("mask_image", mask_image)):
        if not isinstance(value, PIL.Image.Image) and not (name == "mask_image" and value is None):
            raise ValueError(f"`padding_mask_crop` takes one PIL image as `{name}`, got {type(value).__name__}.")
    if mask_image is None and num_results > 1:
        raise ValueError(
            f"`padding_mask_crop` crops around one mask: `mask_image` must be given for {num_results} results, "
            "as each of them has hands of its own."
        )
    if output_type != "pil":
        raise ValueError(f"`padding_mask_crop` makes PIL images: `output_type` must be 'pil', got {output_type!r}.")
