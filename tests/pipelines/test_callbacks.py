"""What callbacks return: a dict of tensors, or an error that names the callback."""

import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback


class Nothing(PipelineCallback):
    tensor_inputs = ["latents", "prompt_embeds"]

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        assert list(callback_kwargs) == self.tensor_inputs


@pytest.mark.parametrize(
    "callback, got",
    [
        (lambda *arguments: None, "dict of tensors, got NoneType"),
        (lambda *arguments: [1], "dict of tensors, got list"),
        (lambda *arguments: {"latents": None}, "tensors, got NoneType as 'latents'"),
        (Nothing(), "dict of tensors, got NoneType"),
        (MultiPipelineCallbacks([Nothing()]), "dict of tensors, got NoneType"),
    ],
)
def test_of_the_image(pipe, callback, got):
    with pytest.raises(TypeError, match=f"^`callback_on_step_end` must return (a )?{got}"):
        pipe("a hand", callback_on_step_end=callback)


@pytest.mark.parametrize(
    "callback, got",
    [
        (lambda pipe, step, timestep, tensors: tensors["sample"], "dict of tensors, got Tensor"),
        (lambda *arguments: {"sample": 1.0}, "tensors, got float as 'sample'"),
    ],
)
def test_of_the_hands(pipe, callback, got):
    for call in (pipe, pipe.sample_hand_params):
        with pytest.raises(TypeError, match=f"^`hand_callback_on_step_end` must return (a )?{got}"):
            call("a hand", hand_callback_on_step_end=callback)


def test_of_the_hands_may_return_nothing(pipe):
    def sample(**changes):
        return pipe.sample_hand_params("a", hand_generator=torch.Generator().manual_seed(0), **changes).full_pose

    assert torch.equal(sample(hand_callback_on_step_end=lambda *arguments: None), sample())
