"""Bad input: each a one-line error that names the argument, before anything is computed."""

import PIL.Image
import pytest
import torch

from diffusers_handiffuser import HandParams

NAN, INF = float("nan"), float("inf")


def refuses(call, name: str, *arguments, **keywords) -> None:
    try:
        call(*arguments, **keywords)
    except (ValueError, TypeError) as error:
        message = str(error)
    else:
        pytest.fail(f"nothing was said of {arguments} {keywords}")
    assert name in message, message
    assert "\n" not in message and len(message) < 300, message


@pytest.fixture(autouse=True)
def nothing_is_computed(pipe, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the networks ran on bad input")

    for name in ("unet", "text_encoder", "text_to_hand_params"):
        monkeypatch.setattr(type(getattr(pipe, name)), "forward", fail)


BAD_ARGUMENTS = [
    ("prompt", []),
    ("prompt", 3),
    ("prompt", ["a", 3]),
    ("prompt", ("a", "b")),
    ("prompt", b"a"),
    ("prompt", None),
    ("negative_prompt", 3),
    ("negative_prompt", ["a"]),
    ("num_images_per_prompt", 0),
    ("num_images_per_prompt", -1),
    ("num_images_per_prompt", 1.5),
    ("num_images_per_prompt", None),
    *[("num_inference_steps", value) for value in (0, -3, NAN, 2.5, 4.0, "4", True)],
    *[("num_hand_inference_steps", value) for value in (0, -3, NAN, 2.5, 4.0, "4", True)],
    *[(name, value) for name in ("guidance_scale", "hand_guidance_scale") for value in (NAN, INF, -INF, "7")],
    *[("hand_conditioning_scale", value) for value in (NAN, INF, -1, "1", None)],
    ("guidance_rescale", NAN),
    ("eta", NAN),
    ("generator", [torch.Generator()] * 2),
    ("generator", []),
    ("generator", [None]),
    ("generator", 3),
    ("hand_generator", [torch.Generator()] * 2),
    ("hand_generator", "seed"),
    ("hand_params", torch.zeros(1, 327)),
    ("hand_params", {"camera": 1}),
    ("hand_params", HandParams.zeros(2)),
    ("hand_params", HandParams.zeros(0)),
    ("hand_params", HandParams.zeros(1, 1)),
    ("callback_on_step_end_tensor_inputs", ["latent"]),
    ("callback_on_step_end", "print"),
    ("hand_callback_on_step_end", 3),
    ("ip_adapter_image", PIL.Image.new("RGB", (8, 8))),
    ("ip_adapter_image_embeds", [torch.zeros(2, 1, 8)]),
    ("hand_param", HandParams.zeros(1)),
]


def test_call(pipe):
    for name, value in BAD_ARGUMENTS:
        refuses(pipe, name, **{"prompt": "a hand", name: value})


@pytest.mark.parametrize("height, width", [(12, 16), (16, 20), (0, 16), (-8, 16), (16.0, 16), (NAN, 16), ("16", 16)])
def test_size(pipe, height, width):
    with pytest.raises((ValueError, TypeError), match="height|width"):
        pipe("a hand", height=height, width=width)


def test_size_comes_whole_or_not_at_all(pipe):
    refuses(pipe, "height", "a hand", width=16)


def test_size_follows_the_vae(pipe):
    pipe.vae_scale_factor = 16
    refuses(pipe, "divisible by 16", "a hand", height=24, width=32)


def test_negative_prompts_match_prompts(pipe, hands):
    refuses(pipe, "negative_prompt", ["a", "b"], negative_prompt=["c"], hand_params=hands)
    refuses(pipe, "negative_prompt", ["a", "b"], negative_prompt="c", hand_params=hands)


def test_negative_prompt_comes_as_text_or_as_embeddings(pipe, hands):
    embeds = torch.zeros(1, 165, 16)
    refuses(pipe, "negative_prompt_embeds", "a", negative_prompt="b", negative_prompt_embeds=embeds)


def test_steps_that_the_scheduler_of_stage_1_does_not_have(pipe):
    refuses(pipe, "num_hand_inference_steps", "a hand", num_hand_inference_steps=1001)


def test_hand_rows_match_prompts(pipe, hands):
    refuses(pipe, "3 (prompts) or 6 (images)", ["a", "b", "c"], num_images_per_prompt=2, hand_params=hands)
    refuses(pipe, "hand_params", ["a"], num_images_per_prompt=3, hand_params=hands)


def test_non_finite_hands_cannot_be_made():
    with pytest.raises(ValueError, match="betas"):
        HandParams.zeros(1).replace(betas=torch.full((1, 10), NAN))


def test_embeddings(pipe, hands):
    embeds = torch.zeros(1, 77, 16)
    refuses(pipe, "hand_params", prompt_embeds=embeds, hand_params=hands[0])
    refuses(pipe.encode_prompt, "hand_params", None, "cpu", 1, True, prompt_embeds=embeds, hand_params=hands[0])
    refuses(pipe.encode_prompt, "prompt", None, "cpu", 1, True, hand_params=hands[0])
    for scale in (NAN, -1):
        refuses(pipe.encode_prompt, "hand_conditioning_scale", "a", "cpu", 1, True, hand_conditioning_scale=scale)
    refuses(pipe, "prompt", "a", prompt_embeds=embeds)
    refuses(pipe, "prompt_embeds", prompt_embeds=embeds * NAN)
    refuses(pipe, "prompt_embeds", prompt_embeds=embeds[0])
    refuses(pipe, "prompt_embeds", prompt_embeds=embeds.numpy())
    refuses(pipe, "negative_prompt_embeds", "a", negative_prompt_embeds=embeds * INF)


@pytest.mark.parametrize("name", ["hand_tokenizer", "hand_text_encoder", "text_to_hand_scheduler", "body_model"])
def test_missing_component(make_pipe, name):
    refuses(make_pipe(**{name: None}), name, "a hand")


def test_missing_component_for_given_hands(text_only_pipe, hands):
    refuses(text_only_pipe, "body_model", "a hand", hand_params=hands[0])
    refuses(text_only_pipe.sample_hand_params, "hand_tokenizer", "a hand")


def test_missing_text_encoder(make_pipe):
    refuses(make_pipe(text_encoder=None), "text_encoder", "a hand", hand_conditioning_scale=0)


@pytest.mark.parametrize(
    "name, value",
    [
        ("prompt", []),
        ("prompt", 3),
        ("num_images_per_prompt", 0),
        ("num_hand_inference_steps", 0),
        ("hand_guidance_scale", NAN),
        ("hand_generator", [torch.Generator()] * 2),
    ],
)
def test_sample_hand_params(pipe, name, value):
    refuses(pipe.sample_hand_params, name, **{"prompt": "a hand", name: value})


def test_foreign_components(make_pipe, clip_text_model):
    with pytest.raises(TypeError, match="`text_encoder` must be a TextHandEncoder, got CLIPTextModel.*from_clip"):
        make_pipe(text_encoder=clip_text_model)
    with pytest.raises(TypeError, match="`body_model` must be a HandBodyModel"):
        make_pipe(body_model=clip_text_model)
