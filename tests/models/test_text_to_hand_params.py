"""The stage-1 denoiser: layout, statistics, masks, schedulers, and at home in diffusers."""

import copy

import diffusers
import pytest
import torch
from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.models.attention_dispatch import attention_backend
from peft import LoraConfig

from diffusers_handiffuser.hands.params import HandParams
from diffusers_handiffuser.hands.rotations import rot6d_to_rotmat, rotvec_to_rotmat
from diffusers_handiffuser.models import TextToHandParamsModel

SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
]


def model(**changes):
    torch.manual_seed(0)
    config = {"hidden_size": 32, "num_layers": 2, "num_attention_heads": 4, "cross_attention_dim": 16}
    return TextToHandParamsModel(**{**config, **changes}).eval()


def inputs(batch=3, length=7):
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[1:, 3:] = 0
    mask[2:] = 0
    return {
        "sample": torch.randn(batch, 327, generator=generator),
        "timestep": torch.arange(batch) * 100,
        "encoder_hidden_states": torch.randn(batch, length, 16, generator=generator),
        "encoder_attention_mask": mask,
    }


def hand_params(*shape):
    torch.manual_seed(2)
    params = HandParams.zeros(*shape)
    changes = {
        name: 0.5 * torch.randn_like(getattr(params, name)) for name in HandParams.FIELDS if name != "hand_visible"
    }
    changes["camera"] = torch.rand(*shape, 3) + 0.5
    return params.replace(**changes, hand_visible=torch.rand(*shape, 2) > 0.5)


def statistics():
    torch.manual_seed(3)
    return torch.randn(327), torch.rand(327) + 0.1


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_decode_inverts_encode(shape):
    denoiser, params = model(), hand_params(*shape)
    denoiser.set_statistics(*statistics())
    sample = denoiser.encode(params)
    assert sample.shape == (*shape, 327) and sample.dtype == torch.float32
    decoded = denoiser.decode(sample)
    assert decoded.batch_shape == shape
    torch.testing.assert_close(
        rotvec_to_rotmat(decoded.full_pose), rotvec_to_rotmat(params.full_pose), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(decoded.betas, params.betas, rtol=0, atol=1e-5)
    torch.testing.assert_close(decoded.camera, params.camera, rtol=0, atol=1e-5)
    assert torch.equal(decoded.hand_visible, params.hand_visible)


def test_layout_and_standardisation():
    denoiser, params = model(), hand_params(4)
    sample = denoiser.encode(params)
    matrices = rotvec_to_rotmat(params.full_pose)
    for joint in (0, 20, 51):
        torch.testing.assert_close(sample[:, 6 * joint : 6 * joint + 3], matrices[:, joint, :, 0])
        torch.testing.assert_close(sample[:, 6 * joint + 3 : 6 * joint + 6], matrices[:, joint, :, 1])
    assert torch.equal(sample[:, 312:322], params.betas)
    assert torch.equal(sample[:, 322:325], params.camera)
    assert torch.equal(sample[:, 325:] > 0, params.hand_visible) and (sample[:, 325:].abs() == 1).all()
    mean, std = statistics()
    denoiser.set_statistics(mean, std)
    torch.testing.assert_close(denoiser.encode(params), (sample - mean) / std)


def test_any_finite_sample_decodes():
    denoiser = model()
    decoded = denoiser.decode(10 * torch.randn(50, 327, generator=torch.Generator().manual_seed(0)))
    matrices = rotvec_to_rotmat(decoded.full_pose)
    identity = torch.eye(3).expand_as(matrices)
    torch.testing.assert_close(matrices @ matrices.mT, identity, rtol=0, atol=1e-5)
    assert (decoded.camera[:, 0] >= 1e-3).all()
    zero = denoiser.decode(torch.zeros(1, 327))
    assert torch.isfinite(zero.full_pose).all() and not zero.hand_visible.any()


def test_decoding_is_done_in_full_precision():
    denoiser = model()
    denoiser.set_statistics(*statistics())
    sample = denoiser.encode(hand_params(3)).half()
    exact = denoiser.decode(sample.float())
    half = copy.deepcopy(denoiser).half()
    assert half.dtype == torch.float16 and half.sample_mean.dtype == half.sample_std.dtype == torch.float32
    decoded = half.decode(sample)
    assert all(torch.equal(getattr(decoded, name), getattr(exact, name)) for name in HandParams.FIELDS)
    assert decoded.full_pose.dtype == torch.float32


def test_bad_samples_and_statistics_are_named():
    denoiser = model()
    with pytest.raises(ValueError, match=r"`sample` must have shape \(..., 327\), got \(2, 3\)"):
        denoiser.decode(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="`sample` holds numbers that are not finite"):
        denoiser.decode(torch.full((1, 327), torch.nan))
    mean, std = statistics()
    with pytest.raises(ValueError, match=r"`mean` must have shape \(327,\), got \(3,\)"):
        denoiser.set_statistics(mean[:3], std)
    with pytest.raises(ValueError, match="`std` must be positive"):
        denoiser.set_statistics(mean, std * 0)
    with pytest.raises(ValueError, match="`std` holds numbers that are not finite"):
        denoiser.set_statistics(mean, std * torch.nan)
    assert not denoiser.sample_mean.any()


@torch.no_grad()
def test_first_prediction_is_near_the_mean_of_the_data():
    assert model(hidden_size=128)(**inputs())[0].std() < 0.5


@torch.no_grad()
def test_forms_of_the_timestep():
    denoiser, given = model(), inputs()
    given["timestep"] = torch.full((3,), 40)
    expected = denoiser(**given).sample
    for timestep in (40, 40.0, torch.tensor(40), torch.tensor([40]), torch.tensor(40.0), torch.full((3,), 40.0)):
        assert torch.equal(denoiser(**{**given, "timestep": timestep}).sample, expected)
    assert not torch.equal(denoiser(**{**given, "timestep": 41}).sample, expected)
    assert not torch.equal(denoiser(**{**given, "timestep": 40.5}).sample, expected)
    each = denoiser(**inputs()).sample
    assert torch.allclose(each[1], denoiser(**{**inputs(), "timestep": 100}).sample[1], atol=1e-6)


@pytest.mark.parametrize("backend", ["native", "_native_math", "flex"])
@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.no_grad()
def test_masked_text_is_as_good_as_absent_on_every_backend(backend):
    denoiser, given = model(), inputs()
    with attention_backend(backend):
        got = denoiser(**given).sample
    for row, length in enumerate((7, 3, 0)):
        alone = {
            "sample": given["sample"][row : row + 1],
            "timestep": given["timestep"][row],
            "encoder_hidden_states": given["encoder_hidden_states"][row : row + 1, :length],
        }
        torch.testing.assert_close(got[row], denoiser(**alone).sample[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_part_of_the_input_matters():
    denoiser, given = model(), inputs()
    expected = denoiser(**given).sample
    for start in (0, 311, 312, 321, 322, 325, 326):
        sample = given["sample"].clone()
        sample[:, start] += 3
        assert not torch.allclose(denoiser(**{**given, "sample": sample}).sample, expected, atol=1e-5)
    text = denoiser(**{**given, "encoder_hidden_states": -given["encoder_hidden_states"]}).sample
    assert not torch.allclose(text[:2], expected[:2], atol=1e-5) and torch.equal(text[2], expected[2])


@torch.no_grad()
def test_every_part_is_read_from_its_own_token():
    """Without layers nothing mixes the tokens, so each part of the output follows its own part of the input."""
    denoiser, given = model(num_layers=0), inputs()
    expected = denoiser(**given).sample
    parts = [slice(6 * joint, 6 * joint + 6) for joint in range(52)] + [slice(312, 322), slice(322, 327)]
    for part in parts:
        sample = given["sample"].clone()
        sample[:, part] += torch.linspace(-1, 2, part.stop - part.start)
        changed = (denoiser(**{**given, "sample": sample}).sample != expected).all(0)
        assert changed[part].all() and changed.sum() == part.stop - part.start


@pytest.mark.parametrize("name", SCHEDULERS)
@torch.no_grad()
def test_schedulers_with_sample_prediction(name):
    scheduler = getattr(diffusers, name)(prediction_type="sample", beta_schedule="squaredcos_cap_v2")
    denoiser, given = model(), inputs()
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(3, 327, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        noisy = scheduler.scale_model_input(sample, timestep)
        clean = denoiser(**{**given, "sample": noisy, "timestep": timestep}, return_dict=False)[0]
        sample = scheduler.step(clean, timestep, sample, return_dict=False)[0]
    assert denoiser.decode(sample).batch_shape == (3,)


def test_learns():
    """A tiny model separates two captions within a few steps."""
    torch.manual_seed(0)
    denoiser = model().train()
    target = torch.randn(2, 327)
    text = torch.randn(2, 4, 16)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        noisy = torch.randn(16, 327)
        rows = torch.arange(16) % 2
        loss = (denoiser(noisy, 999, text[rows]).sample - target[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_gradients_reach_every_weight_and_checkpointing_changes_none():
    grads = []
    for checkpointing in (False, True):
        denoiser = model().train()
        if checkpointing:
            denoiser.enable_gradient_checkpointing()
        denoiser(**inputs()).sample.square().mean().backward()
        grads.append({name: parameter.grad for name, parameter in denoiser.named_parameters()})
    assert all(grad.any() for name, grad in grads[0].items() if not name.endswith("to_k.bias"))
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_save_and_load_is_exact(tmp_path):
    denoiser = model()
    denoiser.set_statistics(*statistics())
    denoiser.save_pretrained(tmp_path / "a")
    loaded, info = TextToHandParamsModel.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(loaded.sample_std, denoiser.sample_std)
    assert torch.equal(loaded(**inputs()).sample, denoiser(**inputs()).sample)
    loaded.save_pretrained(tmp_path / "b")
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    half = TextToHandParamsModel.from_pretrained(tmp_path / "a", dtype=torch.float16)
    assert half.dtype == torch.float16 and torch.equal(half.sample_mean, denoiser.sample_mean)
    half.save_pretrained(tmp_path / "c")
    again = TextToHandParamsModel.from_pretrained(tmp_path / "c")
    assert again.dtype == torch.float32 and torch.equal(again.sample_mean, denoiser.sample_mean)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_low_precision_is_close(dtype):
    denoiser, given = model(), inputs()
    expected = denoiser(**given).sample
    low = copy.deepcopy(denoiser).to(dtype)
    given["sample"], given["encoder_hidden_states"] = (
        given["sample"].to(dtype),
        given["encoder_hidden_states"].to(dtype),
    )
    got = low(**given).sample
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), expected, rtol=0, atol=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(denoiser(**inputs()).sample).all()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@torch.no_grad()
def test_compiles_without_graph_breaks(backend):
    torch._dynamo.reset()
    denoiser, given = model(), inputs()
    compiled = torch.compile(denoiser, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(**given).sample, denoiser(**given).sample)
    with torch.compiler.set_stance("fail_on_recompile"):
        given["timestep"] = given["timestep"] + 1
        torch.testing.assert_close(compiled(**given).sample, denoiser(**given).sample)
    del given["encoder_attention_mask"]
    torch.testing.assert_close(compiled(**given).sample, denoiser(**given).sample)


@torch.no_grad()
def test_fused_projections_layerwise_casting_and_lora():
    denoiser, given = model(), inputs()
    expected = denoiser(**given).sample
    denoiser.fuse_qkv_projections()
    torch.testing.assert_close(denoiser(**given).sample, expected)
    denoiser.unfuse_qkv_projections()
    assert torch.equal(denoiser(**given).sample, expected)
    denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False))
    assert not torch.allclose(denoiser(**given).sample, expected, atol=1e-3)
    denoiser.unload_lora()
    assert torch.equal(denoiser(**given).sample, expected)
    denoiser.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    torch.testing.assert_close(denoiser(**given).sample, expected, rtol=0, atol=0.1)


@torch.no_grad()
def test_caches():
    denoiser, given = model(num_layers=3), inputs()
    expected = denoiser(**given).sample
    for config in (
        FirstBlockCacheConfig(threshold=0.1),
        PyramidAttentionBroadcastConfig(spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500),
    ):
        denoiser.enable_cache(config)
        with denoiser.cache_context("cond"):
            results = [denoiser(**given).sample for _ in range(2)]
        denoiser.disable_cache()
        for result in results:
            torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert torch.equal(denoiser(**given).sample, expected)


@torch.no_grad()
def test_sequential_offload_reaches_every_weight():
    from accelerate import cpu_offload

    denoiser, given = model(), inputs()
    denoiser.set_statistics(*statistics())
    expected = denoiser(**given).sample
    params = denoiser.decode(expected)
    cpu_offload(denoiser, torch.device("cpu"), offload_buffers=len(denoiser._parameters) > 0)
    assert torch.equal(denoiser(**given).sample, expected)
    assert torch.equal(denoiser.decode(expected).camera, params.camera)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sample": torch.zeros(3, 300)}, r"`sample` must have shape \(B, 327\), got \(3, 300\)"),
        ({"timestep": torch.zeros(2)}, r"`timestep` must be a scalar or have shape \(3,\), got \(2,\)"),
        ({"encoder_hidden_states": torch.zeros(3, 7, 8)}, r"`encoder_hidden_states` must have shape \(3, L, 16\)"),
        ({"encoder_hidden_states": torch.zeros(2, 7, 16)}, r"`encoder_hidden_states` must have shape \(3, L, 16\)"),
        ({"encoder_attention_mask": torch.ones(3, 8)}, r"`encoder_attention_mask` must have shape \(3, 7\)"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        model()(**{**inputs(), **change})


def test_wrong_configuration_is_named():
    with pytest.raises(ValueError, match=r"`hidden_size` \(32\) must be divisible by `num_attention_heads` \(5\)"):
        model(num_attention_heads=5)


def test_tables_of_sizes_add_up():
    denoiser = model()
    assert denoiser.sample_mean.shape == denoiser.sample_std.shape == (327,)
    decoded = rot6d_to_rotmat(denoiser.encode(HandParams.zeros(2))[:, :312].unflatten(1, (52, 6)))
    torch.testing.assert_close(decoded, torch.eye(3).expand(2, 52, 3, 3))
