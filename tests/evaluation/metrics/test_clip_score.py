import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from diffusers_handiffuser.evaluation import ClipScorer


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A tiny CLIP with random weights."""
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")} | {
        "vocab_size": len(tokenizer)
    }
    config = CLIPConfig(
        text_config={**layers, **text},
        vision_config={**layers, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    path = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(path)
    return path


def test_agrees_with_the_model(folder):
    scorer = ClipScorer(folder)
    images = torch.randint(0, 256, (3, 20, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    texts = ["a left hand", "a right hand making a fist", "both hands " * 30]
    scores = scorer(images, texts)
    assert scores.shape == (3,) and (scores >= 0).all() and (scores <= 100).all()
    one = scorer(images[1:2], texts[1:2])
    assert one.item() == pytest.approx(scores[1].item(), abs=1e-3)
    inputs = scorer.tokenizer(texts[:1], return_tensors="pt")
    pixels = scorer.image_processor(images[:1].numpy(), return_tensors="pt").pixel_values
    with torch.no_grad():
        out = scorer.model(**inputs, pixel_values=pixels)
    cosine = (out.logits_per_image / scorer.model.logit_scale.exp()).item()
    assert scores[0].item() == pytest.approx(100 * max(0.0, cosine), abs=1e-3)


def test_nothing_is_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        ClipScorer("openai/clip-vit-base-patch32")
    with pytest.raises(FileNotFoundError, match="config.json"):
        ClipScorer(tmp_path)
