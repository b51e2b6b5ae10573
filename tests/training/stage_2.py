"""Stage 2's trainer at the smallest size, and Stable Diffusion to start it from."""

from diffusers import DDPMScheduler, StableDiffusionPipeline

from diffusers_handiffuser.training.hand_params_to_image import trainer

SMALL_ENCODER = '{"num_basis_points": 16, "hand_hidden_size": 16}'
SMALL = {
    "--resolution": 16,
    "--train_batch_size": 2,
    "--num_validation_rows": 2,
    "--max_train_steps": 4,
    "--checkpointing_steps": 2,
    "--logging_steps": 1,
    "--lr_warmup_steps": 0,
    "--learning_rate": 1e-2,
    "--text_encoder_config": SMALL_ENCODER,
    "--default_num_inference_steps": 2,
}


def stable_diffusion(picture_components, clip_text_model) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        **picture_components,
        text_encoder=clip_text_model,
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.001, steps_offset=1, clip_sample=False),
        safety_checker=None,
        requires_safety_checker=False,
    )


def train(data_dir, output_dir, *options) -> None:
    flat = [part for pair in SMALL.items() for part in pair]
    trainer.main([str(o) for o in ("--train_data_dir", data_dir, "--output_dir", output_dir, *flat, *options)])
