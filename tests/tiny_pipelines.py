"""Random tiny pipelines of diffusers, of the very classes that users load.

Their VAEs have more levels than the real ones and so make smaller latents: images of 1024 pixels take seconds. Their
posteriors have no spread: what a ControlNet is given is a function of its image.
"""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    ControlNetModel,
    ControlNetUnionModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxTransformer2DModel,
    ModelMixin,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
    ZImageTransformer2DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

LEVELS, QWEN_LEVELS = 6, 5
WIDTH = 16
HEADS = 2
CHANNELS = 4
"""Of latents."""
PATCH = 4 * CHANNELS
"""Of 2 x 2 latents."""
EMBEDDING = (1, 2, 4, 4, 4, 4)
"""Channels of the layers that bring conditions to the size of latents."""


def stir(model: ModelMixin) -> ModelMixin:
    """Replaces the zeros that ControlNets' output layers start with."""
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def clip_text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def vae() -> AutoencoderKL:
    model = AutoencoderKL(
        block_out_channels=(4,) * LEVELS,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        latent_channels=CHANNELS,
        scaling_factor=0.5,
        shift_factor=0.1,
        sample_size=32,
    )
    with torch.no_grad():
        model.quant_conv.weight[CHANNELS:] = 0
        model.quant_conv.bias[CHANNELS:] = -30.0
    return model.eval()


def unet_config(xl: bool) -> dict:
    config = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "attention_head_dim": HEADS,
        "cross_attention_dim": 2 * WIDTH if xl else WIDTH,
    }
    if xl:
        time_and_pooled = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + WIDTH}
        config |= {"addition_embed_type": "text_time", "use_linear_projection": True, **time_and_pooled}
    return config


def controlnet(xl: bool) -> ControlNetModel:
    return stir(ControlNetModel(**unet_config(xl), conditioning_embedding_out_channels=EMBEDDING))


def controlnet_union() -> ControlNetUnionModel:
    transformer = {"num_trans_channel": 8, "num_trans_head": HEADS, "num_proj_channel": 8}
    model = ControlNetUnionModel(**unet_config(True), **transformer, conditioning_embedding_out_channels=EMBEDDING)
    return stir(model)


def unet(xl: bool, in_channels: int = CHANNELS) -> UNet2DConditionModel:
    up = ("CrossAttnUpBlock2D", "UpBlock2D")
    return UNet2DConditionModel(**unet_config(xl), sample_size=16, in_channels=in_channels, up_block_types=up).eval()


def stable_diffusion(tokenizer: CLIPTokenizer, in_channels: int = CHANNELS) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(clip_text_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        unet=unet(False, in_channels),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(clip_text_config(tokenizer)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_text_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(True),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
    )


def flux_config(num_layers: int, num_single_layers: int) -> dict:
    return {
        "in_channels": PATCH,
        "num_layers": num_layers,
        "num_single_layers": num_single_layers,
        "attention_head_dim": WIDTH,
        "num_attention_heads": HEADS,
        "joint_attention_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }


def flux_controlnet() -> FluxControlNetModel:
    """Without a mode embedding, as Union-Pro-2.0 is."""
    return stir(FluxControlNetModel(**flux_config(1, 0)))


def t5_tokenizer() -> T5TokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0)]
    return T5TokenizerFast(vocab=pieces + [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz,."], extra_ids=0)


def flux(tokenizer: CLIPTokenizer) -> FluxControlNetPipeline:
    tokenizer_2 = t5_tokenizer()
    t5 = T5Config(vocab_size=len(tokenizer_2), d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=HEADS)
    return FluxControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(),
        text_encoder=CLIPTextModel(clip_text_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(t5).eval(),
        tokenizer_2=tokenizer_2,
        transformer=FluxTransformer2DModel(**flux_config(1, 1)).eval(),
        controlnet=flux_controlnet(),
    )


def qwen_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """One token per byte, and the marks of a conversation."""
    folder.mkdir()
    tokens = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    turn = "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    tokenizer.chat_template = "{% for message in messages %}" + turn + "{% endfor %}<|im_start|>assistant\n"
    return tokenizer


def qwen_text_config() -> dict:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": 8,
        "vocab_size": 300,
    }


def qwen_image_config(num_layers: int) -> dict:
    return {
        "in_channels": PATCH,
        "out_channels": CHANNELS,
        "num_layers": num_layers,
        "attention_head_dim": WIDTH,
        "num_attention_heads": HEADS,
        "joint_attention_dim": WIDTH,
        "axes_dims_rope": (4, 6, 6),
    }


def qwen_image_controlnet() -> QwenImageControlNetModel:
    return stir(QwenImageControlNetModel(**qwen_image_config(1)))


def qwen_image(tokenizer: Qwen2Tokenizer) -> QwenImageControlNetPipeline:
    vision = {
        "depth": 1,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_heads": HEADS,
        "out_hidden_size": WIDTH,
    }
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6}
    text = {**qwen_text_config(), "rope_parameters": rope, "rope_scaling": rope}
    text_encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    qwen_vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1] * QWEN_LEVELS,
        num_res_blocks=0,
        temperal_downsample=[False] * (QWEN_LEVELS - 1),
        latents_mean=[0.1] * CHANNELS,
        latents_std=[2.0] * CHANNELS,
    )
    with torch.no_grad():
        qwen_vae.quant_conv.weight[CHANNELS:] = 0
        qwen_vae.quant_conv.bias[CHANNELS:] = -30.0
    return QwenImageControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=qwen_vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        transformer=QwenImageTransformer2DModel(**qwen_image_config(2)).eval(),
        controlnet=qwen_image_controlnet(),
    )


def z_image_controlnet() -> ZImageControlNetModel:
    """With the fifteen layers that diffusers knows a file of version 2.1 by, and channels for inpainting."""
    model = ZImageControlNetModel(
        control_layers_places=list(range(15)),
        control_refiner_layers_places=[0, 1],
        control_in_dim=2 * CHANNELS + 1,
        add_control_noise_refiner="control_noise_refiner",
        dim=WIDTH,
        n_heads=HEADS,
        n_kv_heads=HEADS,
    )
    return stir(model)


def z_image(tokenizer: Qwen2Tokenizer) -> ZImageControlNetPipeline:
    transformer = ZImageTransformer2DModel(
        in_channels=CHANNELS,
        dim=WIDTH,
        n_layers=15,
        n_heads=HEADS,
        n_kv_heads=HEADS,
        cap_feat_dim=WIDTH,
        axes_dims=[2, 2, 4],
        axes_lens=[1024, 64, 64],
    )
    return ZImageControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=Qwen3Model(Qwen3Config(**qwen_text_config())).eval(),
        tokenizer=tokenizer,
        transformer=stir(transformer),
        controlnet=z_image_controlnet(),
    )
