"""A Stable Diffusion pipeline as the single file it would be distributed as: the original code's names of weights.

The inverse of what diffusers does in `from_single_file`, for the two-level models of the tests.
"""

import re

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_state_dict(pipeline) -> dict:
    """Weights of U-Net, VAE and text encoder under the original names."""
    state = {}
    for name, value in pipeline.unet.state_dict().items():
        state["model.diffusion_model." + unet_name(name, pipeline.unet)] = value
    levels = len(pipeline.vae.config.block_out_channels)
    for name, value in pipeline.vae.state_dict().items():
        is_attention = ".attentions.0.to_" in name and name.endswith("weight")
        state["first_stage_model." + vae_name(name, levels)] = value[..., None, None] if is_attention else value
    for name, value in pipeline.text_encoder.state_dict().items():
        state["cond_stage_model.transformer.text_model." + name.removeprefix("text_model.")] = value
    return state


def replace_start(name: str, table: dict[str, str]) -> str:
    for new, old in table.items():
        if name.startswith(new + "."):
            return old + name[len(new) :]
    return name


def unet_name(name: str, unet) -> str:
    per_level = unet.config.layers_per_block + 1
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if match:
        way, level, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        block = "input_blocks" if way == "down" else "output_blocks"
        number = level * per_level + layer + (way == "down")
        if kind == "downsamplers":
            return f"{block}.{(level + 1) * per_level}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            attended = hasattr(unet.up_blocks[level], "attentions")
            return f"{block}.{level * per_level + per_level - 1}.{1 + attended}.{rest}"
        rest = replace_start(rest, RESNET) if kind == "resnets" else rest
        return f"{block}.{number}.{int(kind == 'attentions')}.{rest}"
    name = replace_start(name, UNET)
    if name.startswith(("middle_block.0.", "middle_block.2.")):
        head, rest = name[: len("middle_block.0.")], name[len("middle_block.0.") :]
        return head + replace_start(rest, RESNET)
    return name


def vae_name(name: str, levels: int) -> str:
    match = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if match:
        side, way, level, kind, layer, rest = match[1], match[2], int(match[3]), match[4], match[5], match[6]
        level = level if way == "down" else levels - 1 - level
        if kind != "resnets":
            return f"{side}.{way}.{level}.{kind.removesuffix('rs')}.{rest}"
        return f"{side}.{way}.{level}.block.{layer}.{rest.replace('conv_shortcut', 'nin_shortcut')}"
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        head, rest = name.split("mid_block.attentions.0.")
        return f"{head}mid.attn_1.{replace_start(rest, VAE_ATTENTION)}"
    return name.replace("conv_norm_out", "norm_out")
