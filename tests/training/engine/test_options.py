import re
from pathlib import Path

from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image
from diffusers_handiffuser.training.text_to_hand_params import trainer as text_to_hand_params

REFERENCE = """
    input_perturbation pretrained_model_name_or_path revision variant dataset_name dataset_config_name train_data_dir
    image_column caption_column max_train_samples validation_prompts output_dir cache_dir seed resolution center_crop
    random_flip train_batch_size num_train_epochs max_train_steps gradient_accumulation_steps gradient_checkpointing
    learning_rate scale_lr lr_scheduler lr_warmup_steps snr_gamma dream_training dream_detail_preservation
    use_8bit_adam allow_tf32 use_ema offload_ema foreach_ema non_ema_revision dataloader_num_workers adam_beta1
    adam_beta2 adam_weight_decay adam_epsilon max_grad_norm push_to_hub hub_token prediction_type hub_model_id
    logging_dir mixed_precision report_to local_rank checkpointing_steps checkpoints_total_limit
    resume_from_checkpoint enable_xformers_memory_efficient_attention noise_offset validation_epochs
    tracker_project_name image_interpolation_mode
"""
"""Options of diffusers' examples/text_to_image/train_text_to_image.py."""
REFERENCE_LORA = "validation_prompt num_validation_images rank"
"""What train_text_to_image_lora.py has besides; of the others it lacks some."""
OF_IMAGES = {"resolution", "input_perturbation", "noise_offset", "prediction_type", "num_validation_images", "rank"}
"""Not for stage 1, which has no images and, by the pipeline's contract, one prediction type."""

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def names_of(parser) -> set[str]:
    return {action.dest for action in parser._actions} - {"help"}


def test_options_are_those_of_diffusers_but_for_what_the_docs_say():
    reference = set((REFERENCE + REFERENCE_LORA).split())
    section = DOCS.read_text(encoding="utf-8").split("## Options of `train_text_to_image.py` that are absent")[1]
    table = re.findall(r"^\| ((?:`--\w+`(?:, )?)+) \| (\S.*) \|$", section, re.M)
    absent = {name for names, reason in table for name in re.findall(r"--(\w+)", names)}
    assert reference - names_of(hand_params_to_image.make_parser()) == absent
    assert reference - names_of(text_to_hand_params.make_parser()) == absent | OF_IMAGES


def test_meanings_that_could_be_mistaken_are_those_of_diffusers():
    """Defaults that decide what a command line copied from there does."""
    parser = hand_params_to_image.make_parser()
    theirs = {"resolution": 512, "gradient_accumulation_steps": 1, "learning_rate": 1e-4, "lr_warmup_steps": 500,
              "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_weight_decay": 1e-2, "adam_epsilon": 1e-8,
              "max_grad_norm": 1.0, "snr_gamma": None, "prediction_type": None, "mixed_precision": None,
              "dataloader_num_workers": 0, "noise_offset": 0, "input_perturbation": 0, "rank": 4,
              "logging_dir": "logs", "max_train_steps": None, "checkpoints_total_limit": None}  # fmt: skip
    assert {name: parser.get_default(name) for name in theirs} == theirs
