"""`torch.compile(fullgraph=True)` beyond a forward pass: block by block, exported, in training, in a pipeline.

That the whole of each model is one graph is tested with the models.
"""

import copy

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from diffusers_handiffuser import TextHandEncoder, TextToHandParamsModel


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def encoder_case():
    torch.manual_seed(0)
    model = TextHandEncoder(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_basis_points=6,
        hand_hidden_size=16,
    )
    inputs = {
        "input_ids": torch.randint(0, 40, (2, 77)),
        "hand_rotations": torch.eye(3).expand(2, 2, 16, 3, 3),
        "hand_bps": torch.rand(2, 2, 6),
        "hand_joints_2d": torch.rand(2, 2, 21, 2),
        "hand_visible": torch.tensor([[True, True], [False, True]]),
    }
    return model.eval(), inputs


def denoiser_case():
    torch.manual_seed(0)
    model = TextToHandParamsModel(hidden_size=32, num_layers=2, num_attention_heads=2, cross_attention_dim=8)
    inputs = {
        "sample": torch.randn(2, 327),
        "timestep": torch.tensor(900),
        "encoder_hidden_states": torch.randn(2, 7, 8),
        "encoder_attention_mask": torch.ones(2, 7, dtype=torch.long),
    }
    return model.eval(), inputs


@pytest.mark.parametrize("case", [encoder_case, denoiser_case])
@torch.no_grad()
def test_repeated_blocks(case):
    """Compiled block by block: one graph for all of them, whatever the number of layers."""
    model, inputs = case()
    expected, graphs = model(**inputs)[0], []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    model.compile_repeated_blocks(fullgraph=True, backend=backend)
    torch.testing.assert_close(model(**inputs)[0], expected)
    assert len(graphs) == 1


@pytest.mark.parametrize("case", [encoder_case, denoiser_case])
@torch.no_grad()
def test_export(case):
    """Ahead of time, as ONNX and AOTInductor want it."""
    model, inputs = case()
    program = torch.export.export(model, args=(), kwargs=inputs)
    torch.testing.assert_close(program.module()(**inputs)[0], model(**inputs)[0])


def test_training():
    model, inputs = denoiser_case()
    compiled = torch.compile(model.train(), fullgraph=True, backend="eager")
    compiled(**inputs)[0].square().mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(**inputs)[0].square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["native", "_native_math"])
@torch.no_grad()
def test_attention_backends_stay_in_the_graph(backend):
    before = _AttentionBackendRegistry.get_active_backend()[0]
    model, inputs = denoiser_case()
    expected = model(**inputs)[0]
    try:
        model.set_attention_backend(backend)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(**inputs)[0], expected)
    finally:
        _AttentionBackendRegistry.set_active_backend(before)


def test_compiled_models_in_a_pipeline(make_pipe):
    """Compiled in place, as diffusers advises, they stay what the pipeline takes them for."""
    pipe = make_pipe()
    expected = pipe("a hand", generator=torch.Generator().manual_seed(0), output_type="pt").images
    changed = {name: copy.deepcopy(getattr(pipe, name)) for name in ("text_encoder", "text_to_hand_params")}
    for model in changed.values():
        model.compile(fullgraph=True, backend="eager")
    wrapped = torch.compile(pipe.text_encoder, fullgraph=True, backend="eager")
    for text_encoder in (changed["text_encoder"], wrapped):
        compiled = make_pipe(**{**changed, "text_encoder": text_encoder})
        got = compiled("a hand", generator=torch.Generator().manual_seed(0), output_type="pt").images
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
