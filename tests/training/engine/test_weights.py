"""What accelerate's engines cannot do is refused before they hold the weights, and weights of another class."""

import copy
from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType
from small_run import Line

from diffusers_handiffuser.training.engine.weights import RunWeights, load_model


def run_weights(engine, use_ema=False, whole=True, **facts) -> RunWeights:
    accelerator = SimpleNamespace(distributed_type=engine, mixed_precision="no", is_fsdp2=True)
    accelerator.__dict__.update(facts)
    return RunWeights(SimpleNamespace(use_ema=use_ema), accelerator, Line(), {}, whole)


def zero(stage) -> SimpleNamespace:
    return SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=stage))


def test_first_version_of_fsdp():
    with pytest.raises(ValueError, match=r"FSDP version 1 is not supported: set `fsdp_version: 2` .*FSDP_VERSION=2"):
        run_weights(DistributedType.FSDP, is_fsdp2=False)
    run_weights(DistributedType.FSDP, use_ema=True)


def test_average_of_weights_that_are_spread_or_rounded():
    for stage, precision in ((3, "no"), (2, "bf16"), (1, "fp16")):
        with pytest.raises(ValueError, match="`use_ema` under DeepSpeed needs ZeRO stage 1 or 2 and full precision"):
            run_weights(DistributedType.DEEPSPEED, use_ema=True, state=zero(stage), mixed_precision=precision)
        run_weights(DistributedType.DEEPSPEED, state=zero(stage), mixed_precision=precision)
    run_weights(DistributedType.DEEPSPEED, use_ema=True, state=zero(2))


@pytest.mark.parametrize("engine", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_lora(engine):
    with pytest.raises(ValueError, match="LoRA under FSDP or DeepSpeed is not supported"):
        run_weights(engine, whole=False)


def test_weights_of_another_class_are_refused(bert, clip_text_model, tmp_path):
    """transformers would draw them at random."""
    clip_text_model.save_pretrained(tmp_path / "hand_text_encoder")
    with pytest.raises(ValueError, match="`hand_text_encoder` has no weights for"):
        load_model(copy.deepcopy(bert), tmp_path / "hand_text_encoder")
