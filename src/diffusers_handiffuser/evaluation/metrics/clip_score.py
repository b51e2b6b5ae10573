"""CLIPScore (Hessel et al., 2021): how well images agree with their captions, by a CLIP that the user provides."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ...utils.moved import renamed_argument


class ClipScorer:
    """`100 max(0, cos)` of the embeddings of an image and its caption.

    Args:
        folder (`str` or `Path`): a saved `transformers.CLIPModel` with its tokenizer and image processor. Nothing is
            downloaded.
        device (`str`): where it runs.
    """

    def __init__(self, folder: str | Path, device: str = "cpu"):
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        if not Path(folder, "config.json").is_file():
            raise FileNotFoundError(f"`folder` must be a saved CLIP, but {str(folder)!r} has no config.json.")
        self.name = Path(folder).name
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True).eval().to(device)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.image_processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)

    @renamed_argument("pictures", "images")
    @torch.no_grad()
    def __call__(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Scores `(N,)` of images `(N, H, W, 3)` uint8 and their N captions; long captions are truncated."""
        inputs = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.tokenizer.model_max_length, return_tensors="pt"
        )
        pixels = self.image_processor(list(images.cpu().numpy()), return_tensors="pt").pixel_values
        device = self.model.device
        out = self.model(
            input_ids=inputs.input_ids.to(device),
            attention_mask=inputs.attention_mask.to(device),
            pixel_values=pixels.to(device),
        )
        cosines = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
        return 100 * cosines.clamp(min=0).double().cpu()
