"""LoRA files as tools write them: each is loaded as it is meant, or refused as a whole in one line."""

import copy
import logging

import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter
from peft import LoraConfig, get_peft_model_state_dict
from releases import group_offload_without_gpu
from safetensors.torch import save_file

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserBlocks,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)
from diffusers_handiffuser.models.lora_weights import read_lora

ATTENTION = "mid_block.attentions.0.transformer_blocks.0"
UNET_LAYERS = (
    f"{ATTENTION}.attn1.to_q",
    f"{ATTENTION}.attn2.to_out.0",
    f"{ATTENTION}.ff.net.0.proj",
    "mid_block.attentions.0.proj_in",
    "down_blocks.0.resnets.0.conv1",
)
TEXT_LAYERS = tuple(
    f"encoder.layers.{i}.{name}" for i in range(3) for name in ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc1")
)


@pytest.fixture
def own_pipe(make_pipe, picture_components, hand_components):
    """A pipeline whose models a test may change."""
    torch.manual_seed(0)
    return make_pipe(
        **copy.deepcopy({"unet": picture_components["unet"], "text_encoder": hand_components["text_encoder"]})
    )


@pytest.fixture
def draw(hands):
    def call(pipe):
        generator = torch.Generator().manual_seed(0)
        return pipe("a hand", hand_params=hands[0], generator=generator, output_type="pt")[0]

    return call


def matrices(model, layers, rank: int = 2, seed: int = 0) -> dict:
    """A and B for each layer, large enough to be seen in a picture."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name in layers:
        weight = model.get_submodule(name).weight
        first = torch.randn(rank, *weight.shape[1:], generator=generator)
        second = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2), generator=generator)
        found[name] = (first, second)
    return found


def kohya(prefix: str, layers: dict, alphas=()) -> dict:
    """The names that kohya's tools write; `alphas` holds one for each layer, or `None`."""
    state = {}
    for name, (first, second) in layers.items():
        key = f"{prefix}_{name.replace('.', '_')}"
        state |= {f"{key}.lora_down.weight": first, f"{key}.lora_up.weight": second}
    for name, alpha in zip(layers, alphas, strict=False):
        if alpha is not None:
            state[f"{prefix}_{name.replace('.', '_')}.alpha"] = torch.tensor(alpha)
    return state


def peft(component: str, layers: dict) -> dict:
    state = {f"{component}.{name}.lora_A.weight": first for name, (first, _) in layers.items()}
    return state | {f"{component}.{name}.lora_B.weight": second for name, (_, second) in layers.items()}


def diffusers_names(component: str, layers: dict, old: bool = False) -> dict:
    joined = {".q_proj": ".to_q_lora", ".out_proj": ".to_out_lora"} if old else {}
    state = {}
    for name, (first, second) in layers.items():
        key = f"{component}.{name}.lora_linear_layer"
        for ending, replacement in joined.items():
            key = key.replace(f"{ending}.lora_linear_layer", replacement)
        state |= {f"{key}.down.weight": first, f"{key}.up.weight": second}
    return state


def below(prefix: str, layers: dict) -> dict:
    return {f"{prefix}.{name}": pair for name, pair in layers.items()}


def merge(model, layers: dict, alphas) -> None:
    """The naive twin: W + alpha / rank * B A, in the weights themselves."""
    with torch.no_grad():
        for (name, (first, second)), alpha in zip(layers.items(), alphas, strict=True):
            weight, rank = model.get_submodule(name).weight, len(first)
            scale = 1.0 if alpha is None else alpha / rank
            weight += scale * (second.flatten(1) @ first.flatten(1)).reshape(weight.shape)


def state_of(*models) -> list:
    """All that loading a LoRA could change."""
    return [
        (
            [(name, type(module), len(module._forward_pre_hooks)) for name, module in model.named_modules()],
            {name: value.clone() for name, value in model.state_dict().items()},
            [(name, value.requires_grad) for name, value in model.named_parameters()],
            {name: config.to_dict() for name, config in getattr(model, "peft_config", {}).items()},
            model._hf_peft_config_loaded,
            {
                name: (
                    dict(module.scaling),
                    module.active_adapters,
                    module.disable_adapters,
                    module.merged_adapters[:],
                )
                for name, module in model.named_modules()
                if hasattr(module, "active_adapters") and hasattr(module, "scaling")
            },
        )
        for model in models
    ]


def unchanged(before: list, *models) -> None:
    for old, new in zip(before, state_of(*models), strict=True):
        assert old[0] == new[0]
        assert old[2:] == new[2:]
        for name, value in old[1].items():
            assert torch.equal(value, new[1][name])


class TestNamesOfTheTextEncoder:
    FORMS = {
        "PEFT": lambda layers: peft("text_encoder", layers),
        "diffusers": lambda layers: diffusers_names("text_encoder", layers),
        "diffusers, old": lambda layers: diffusers_names("text_encoder", layers, old=True),
    }

    @pytest.fixture
    def expected(self, own_pipe, draw):
        layers = matrices(own_pipe.text_encoder.text_model, TEXT_LAYERS)
        plain = draw(own_pipe)
        own_pipe.load_lora_weights(peft("text_encoder", below("text_model", layers)))
        picture = draw(own_pipe)
        own_pipe.unload_lora_weights()
        assert (picture - plain).abs().max() > 0.01
        return layers, picture

    @pytest.mark.parametrize("prefix", ["", "text_model"])
    @pytest.mark.parametrize("form", FORMS)
    def test_with_and_without_prefix(self, own_pipe, draw, expected, form, prefix):
        layers, picture = expected
        own_pipe.load_lora_weights(self.FORMS[form](below(prefix, layers) if prefix else layers))
        assert torch.equal(draw(own_pipe), picture)

    @pytest.mark.parametrize("prefix", ["lora_te", "lora_te1", "lora_te_text_model", "lora_te1_text_model"])
    @pytest.mark.parametrize("alpha", [None, 2.0])
    def test_kohya(self, own_pipe, draw, expected, prefix, alpha):
        layers, picture = expected
        own_pipe.load_lora_weights(kohya(prefix, layers, [alpha] * len(layers)))
        assert torch.equal(draw(own_pipe), picture)

    def test_one_layer_of_the_mlp(self, own_pipe):
        """diffusers takes PEFT's names for its own if there is no attention among them."""
        layers = matrices(own_pipe.text_encoder.text_model, ["encoder.layers.1.mlp.fc2"])
        own_pipe.load_lora_weights(peft("text_encoder", layers))
        assert own_pipe.get_list_adapters() == {"text_encoder": ["default_0"]}

    def test_saved_by_diffusers_with_alphas(self, own_pipe, draw, tmp_path):
        ends = (("q_proj", 6), ("v_proj", 4), ("layers.1.*k_proj", 2))
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj"], alpha_pattern=dict(ends),
            rank_pattern={r"layers\.\d+\.self_attn\.v_proj": 1}, init_lora_weights=False, use_rslora=True,
        )  # fmt: skip
        encoder = own_pipe.text_encoder
        encoder.add_adapter(config, "one")
        picture, scaling = (
            draw(own_pipe),
            {n: m.scaling["one"] for n, m in encoder.named_modules() if "scaling" in vars(m)},
        )
        assert len(set(scaling.values())) > 2
        HanDiffuserPipeline.save_lora_weights(
            tmp_path,
            text_encoder_lora_layers=get_peft_model_state_dict(encoder, adapter_name="one"),
            text_encoder_lora_adapter_metadata=encoder.peft_config["one"].to_dict(),
        )
        own_pipe.unload_lora_weights()
        own_pipe.load_lora_weights(tmp_path, adapter_name="one")
        assert scaling == {n: m.scaling["one"] for n, m in encoder.named_modules() if "scaling" in vars(m)}
        assert torch.equal(draw(own_pipe), picture)
        encoder.save_pretrained(tmp_path / "encoder")
        own_pipe.text_encoder = type(encoder).from_pretrained(tmp_path / "encoder")
        assert torch.equal(draw(own_pipe), picture), "an encoder saved with it keeps its scales, too"

    def test_what_the_embeddings_learned(self, own_pipe, draw, tmp_path):
        config = LoraConfig(r=2, target_modules=["token_embedding", "q_proj"], init_lora_weights=False)
        own_pipe.text_encoder.add_adapter(config)
        picture, state = draw(own_pipe), get_peft_model_state_dict(own_pipe.text_encoder)
        state = {name: value for name, value in state.items() if "base_layer" not in name}
        HanDiffuserPipeline.save_lora_weights(
            tmp_path, text_encoder_lora_layers=state, text_encoder_lora_adapter_metadata=config.to_dict()
        )
        own_pipe.unload_lora_weights()
        own_pipe.load_lora_weights(tmp_path)
        assert torch.equal(draw(own_pipe), picture)


class TestAlphas:
    @pytest.mark.parametrize("rank", [1, 4])
    def test_each_layer_has_its_own(self, own_pipe, draw, make_pipe, tmp_path, rank):
        """Against a twin whose weights hold the LoRA; alphas that are absent stand for the rank."""
        twin = make_pipe(**{name: copy.deepcopy(getattr(own_pipe, name)) for name in ("unet", "text_encoder")})
        unet = matrices(own_pipe.unet, UNET_LAYERS, rank)
        text = matrices(own_pipe.text_encoder.text_model, TEXT_LAYERS, 2 * rank, seed=1)
        unet_alphas, text_alphas = [4.0, 1.0, 4.0, None, 0.5], [2.0, 0.5, 2.0, 8.0, None, 2.0, 2.0, 1.0, 2.0]
        state = kohya("lora_unet", unet, unet_alphas) | kohya("lora_te_text_model", text, text_alphas)
        save_file(state, tmp_path / "style.safetensors")
        plain = draw(own_pipe)
        own_pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
        merge(twin.unet, unet, unet_alphas)
        merge(twin.text_encoder.text_model, text, text_alphas)
        assert (draw(twin) - plain).abs().max() > 0.05
        torch.testing.assert_close(draw(own_pipe), draw(twin), rtol=0, atol=1e-4)
        layer = own_pipe.unet.get_submodule(UNET_LAYERS[1])
        assert layer.scaling["default_0"] == 1.0 / rank

    def test_layers_of_different_ranks_without_alphas(self, own_pipe):
        layers = matrices(own_pipe.unet, UNET_LAYERS[:1], 1) | matrices(own_pipe.unet, UNET_LAYERS[1:], 3)
        own_pipe.load_lora_weights(kohya("lora_unet", layers))
        assert {own_pipe.unet.get_submodule(name).scaling["default_0"] for name in UNET_LAYERS} == {1.0}

    def test_hotswap(self, own_pipe, make_pipe, draw):
        """PEFT looks ranks and alphas up under names that no layer has when it swaps weights."""
        twin = make_pipe(unet=copy.deepcopy(own_pipe.unet), text_encoder=own_pipe.text_encoder)
        first = matrices(own_pipe.unet, UNET_LAYERS, 4)
        second = {
            name: pair for i in (1, 2) for name, pair in matrices(own_pipe.unet, UNET_LAYERS[i:], 3 - i, i).items()
        }
        second = matrices(own_pipe.unet, UNET_LAYERS[:1], 3, seed=1) | second
        own_pipe.load_lora_weights(kohya("lora_unet", first, [8.0] * 5), adapter_name="a")
        own_pipe.load_lora_weights(kohya("lora_unet", second, [8.0] * 5), adapter_name="a", hotswap=True)
        merge(twin.unet, second, [8.0] * 5)
        torch.testing.assert_close(draw(own_pipe), draw(twin), rtol=0, atol=1e-4)

    def test_dora(self, own_pipe, draw, tmp_path):
        """PEFT's own DoRA: the rows of W + B A, each with a length that was learned."""
        name = f"{ATTENTION}.attn1.to_q"
        layers = matrices(own_pipe.unet, [name])
        weight = own_pipe.unet.get_submodule(name).weight.detach().clone()
        magnitude = torch.rand(len(weight)) + 0.5
        state = peft("unet", layers) | {f"unet.{name}.lora_magnitude_vector": magnitude}
        own_pipe.load_lora_weights(state)
        picture = draw(own_pipe)
        own_pipe.unload_lora_weights()
        first, second = layers[name]
        moved = weight + second @ first
        with torch.no_grad():
            own_pipe.unet.get_submodule(name).weight.copy_(
                magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True)
            )
        torch.testing.assert_close(picture, draw(own_pipe), rtol=0, atol=1e-4)


class TestRefused:
    """In one line, and with nothing left behind."""

    LAYER = f"lora_unet_{ATTENTION.replace('.', '_')}_attn1_to_q"
    UNET, TEXT = f"unet.{UNET_LAYERS[0]}", "text_encoder.encoder.layers.0.mlp.fc1"

    @staticmethod
    def refused(pipe, state, match: str, **arguments) -> None:
        before = state_of(pipe.unet, pipe.text_encoder)
        with pytest.raises(ValueError, match=match) as caught:
            pipe.load_lora_weights(state, **arguments)
        assert "\n" not in str(caught.value)
        unchanged(before, pipe.unet, pipe.text_encoder)

    @pytest.mark.parametrize(
        ("endings", "kind"),
        [
            (["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"], "LoHa"),
            (["lokr_w1", "lokr_w2", "alpha"], "LoKr"),
            (["lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"], "LoCon"),
            (["lora_down.weight", "lora_up.weight", "dora_scale", "alpha"], "DoRA"),
            (["oft_blocks"], "OFT"),
        ],
    )
    def test_other_kinds(self, own_pipe, tmp_path, endings, kind):
        good = kohya("lora_unet", matrices(own_pipe.unet, UNET_LAYERS[1:]))
        state = good | {f"{self.LAYER}.{ending}": torch.randn(2, 2) for ending in endings}
        save_file(state, tmp_path / "other.safetensors")
        self.refused(
            own_pipe, tmp_path / "other.safetensors", rf"other.safetensors.*{self.LAYER}.*{kind}.*wanted LoRA"
        )

    @pytest.mark.parametrize(
        ("state", "match"),
        [
            ({}, "no key begins with 'unet.' or 'text_encoder.'"),
            ({"lora_foo": torch.ones(2)}, "no key begins with 'unet.' or 'text_encoder.'; the first is 'lora_foo'"),
            ({"base_model.model.mid.lora_A.weight": torch.ones(2, 2)}, "wanted 'unet.' or 'text_encoder.'"),
            ({"unet.no_such.lora_A.weight": torch.ones(2, 2)}, "'no_such', but `unet` has no such layer"),
            ({f"{TEXT}.lora_A.weight": torch.ones(2, 16)}, "has no `lora_B.weight`"),
            ({f"{UNET}.hello": torch.ones(2, 16)}, f"'{UNET}.hello' is not a weight of a LoRA"),
            ({f"{UNET}.lora_A.weight": torch.ones(2, 16).int()}, "must be a tensor of real numbers"),
            ({f"{UNET}.lora_A.weight": torch.full((2, 16), torch.nan)}, "numbers that are not finite"),
            (
                {f"{UNET}.lora_A.weight": torch.ones(2, 99), f"{UNET}.lora_B.weight": torch.ones(16, 2)},
                r"lora_A.weight' must have shape \(2, 16\) for this model, got \(2, 99\)",
            ),
            (
                {f"{UNET}.lora_A.weight": torch.ones(2, 16), f"{UNET}.lora_B.weight": torch.ones(16, 3)},
                r"lora_B.weight' must have shape \(16, 2\) for this model, got \(16, 3\)",
            ),
            (
                {f"{UNET}.lora_A.weight": torch.ones(0, 16), f"{UNET}.lora_B.weight": torch.ones(16, 0)},
                "must have shape",
            ),
            (
                {
                    "unet.conv_norm_out.lora_A.weight": torch.ones(2, 8),
                    "unet.conv_norm_out.lora_B.weight": torch.ones(8, 2),
                },
                "is a GroupNorm; wanted a linear layer",
            ),
            (
                {
                    f"{TEXT}.lora_A.weight": torch.ones(2, 16),
                    f"{TEXT.replace('encoder.layers', 'text_model.encoder.layers')}.lora_A.weight": torch.ones(2, 16),
                },
                "is there under a second name",
            ),
        ],
    )  # fmt: skip
    def test_what_is_not_understood(self, own_pipe, state, match):
        self.refused(own_pipe, state, match)

    def test_both_halves_are_read_before_one_is_loaded(self, own_pipe):
        state = peft("unet", matrices(own_pipe.unet, UNET_LAYERS)) | {f"{self.TEXT}.lora_A.weight": torch.ones(2, 16)}
        self.refused(own_pipe, state, "has no `lora_B.weight`")

    @pytest.mark.parametrize("missing", ["lora_up.weight", "lora_down.weight"])
    def test_half_a_layer_of_kohyas(self, own_pipe, missing):
        state = kohya("lora_unet", matrices(own_pipe.unet, UNET_LAYERS))
        del state[f"{self.LAYER}.{missing}"]
        self.refused(own_pipe, state, self.LAYER)

    def test_alpha_that_is_not_finite(self, own_pipe):
        state = kohya("lora_unet", matrices(own_pipe.unet, UNET_LAYERS), [1.0, float("nan")])
        self.refused(own_pipe, state, "must have a finite number as its alpha, got nan")

    @pytest.mark.parametrize(
        ("metadata", "match"),
        [
            ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "unet.megatron_config"),
            ({"layer_replication": [[0, 1]]}, "unet.layer_replication"),
            ({"modules_to_save": ["conv_in"]}, "unet.modules_to_save"),
            ({"init_lora_weights": "pissa"}, "'pissa', which changes the weights of the model itself"),
            ({"alpha_pattern": {"(a+)+$": 1}}, "wanted names of layers"),
            ({"alpha_pattern": {".*.*.*.*.*q": 1}}, "wanted names of layers"),
            ({"alpha_pattern": {"(.|.)" * 40 + "x": 1}}, "wanted names of layers"),
            ({"alpha_pattern": {"(to_q": 1}}, "alpha_pattern"),
            ({"alpha_pattern": 3}, "wanted names of layers"),
            ({"lora_alpha": "8"}, "finite number as its alpha, got '8'"),
            ({"lora_dropout": "x"}, "wanted a bool and a number"),
        ],
    )
    def test_options_of_peft(self, own_pipe, metadata, match):
        """A file's metadata may name modules that peft imports, and patterns that take for ever."""
        state = peft("unet", matrices(own_pipe.unet, UNET_LAYERS))
        with pytest.raises(ValueError, match=match):
            read_lora("unet", own_pipe.unet, state, metadata={f"unet.{key}": value for key, value in metadata.items()})

    def test_layers_that_are_left_out_are_named(self, own_pipe, caplog):
        state = peft("unet", matrices(own_pipe.unet, UNET_LAYERS))
        state |= {"unet.no_such.lora_A.weight": torch.ones(2, 2), "text_encoder_2.x.lora_A.weight": torch.ones(2, 2)}
        loggers = [
            logging.getLogger(f"diffusers_handiffuser.{name}")
            for name in ("models.lora_weights", "pipelines.lora_loading")
        ]
        for logger in loggers:
            logger.addHandler(caplog.handler)
        try:
            own_pipe.load_lora_weights(state)
        finally:
            for logger in loggers:
                logger.removeHandler(caplog.handler)
        assert "`unet` does not have 1 of the 6 layers" in caplog.text and "'no_such'" in caplog.text
        assert "'text_encoder_2.x.lora_A.weight'" in caplog.text
        assert own_pipe.get_list_adapters() == {"unet": ["default_0"]}

    def test_text_encoder_in_a_compiled_wrapper(self, own_pipe, draw):
        unet = peft("unet", matrices(own_pipe.unet, UNET_LAYERS))
        both = unet | peft("text_encoder", matrices(own_pipe.text_encoder.text_model, TEXT_LAYERS))
        encoder = own_pipe.text_encoder
        own_pipe.text_encoder = torch.compile(encoder)
        with pytest.raises(ValueError, match=r"compile it in place: `pipe.text_encoder.compile\(\)`"):
            own_pipe.load_lora_weights(both)
        own_pipe.load_lora_weights(unet)
        own_pipe.text_encoder = encoder
        own_pipe.unload_lora_weights()
        encoder.compile()
        own_pipe.load_lora_weights(both)
        assert set(own_pipe.get_list_adapters()) == {"unet", "text_encoder"}

    def test_nothing_to_load_into(self, own_pipe):
        state = peft("unet", matrices(own_pipe.unet, UNET_LAYERS))
        own_pipe.register_modules(unet=None)
        with pytest.raises(ValueError, match="changes `unet`, but this pipeline has None in its place"):
            own_pipe.load_lora_weights(state)

    def test_by_the_loaders_of_one_model(self, own_pipe, draw):
        """What training scripts call; the half of a file is enough for them."""
        text = matrices(own_pipe.text_encoder.text_model, TEXT_LAYERS)
        state = kohya("lora_unet", matrices(own_pipe.unet, UNET_LAYERS), [4.0, 1.0]) | kohya("lora_te", text, [1.0])
        own_pipe.load_lora_weights(dict(state))
        picture = draw(own_pipe)
        own_pipe.unload_lora_weights()
        weights, alphas = HanDiffuserPipeline.lora_state_dict(state)
        HanDiffuserPipeline.load_lora_into_unet(weights, alphas, own_pipe.unet)
        HanDiffuserPipeline.load_lora_into_text_encoder(weights, alphas, own_pipe.text_encoder)
        assert torch.equal(draw(own_pipe), picture)


class TestFailures:
    """What fails on the way, after the U-Net's half is in its place."""

    def halves(self, pipe, seed: int = 0) -> dict:
        text = matrices(pipe.text_encoder.text_model, TEXT_LAYERS, seed=seed)
        return peft("unet", matrices(pipe.unet, UNET_LAYERS, seed=seed)) | peft("text_encoder", text)

    def occupy(self, pipe) -> None:
        """The text encoder gets adapters "kept" and "taken", the U-Net "kept" alone."""
        pipe.load_lora_weights(self.halves(pipe, seed=1), adapter_name="kept")
        text = {name: value for name, value in self.halves(pipe, seed=2).items() if name.startswith("text")}
        pipe.load_lora_weights(text, adapter_name="taken")
        pipe.set_adapters(["kept"], [0.5])

    def fail(self, pipe) -> None:
        models = (pipe.unet, pipe.text_encoder)
        before = state_of(*models)
        with pytest.raises(ValueError, match="taken already in use"):
            pipe.load_lora_weights(self.halves(pipe), adapter_name="taken")
        unchanged(before, *models)

    def test_leave_nothing_behind(self, own_pipe, draw):
        self.occupy(own_pipe)
        before = draw(own_pipe)
        self.fail(own_pipe)
        assert torch.equal(draw(own_pipe), before)
        own_pipe.text_encoder.delete_adapters("taken")
        own_pipe.load_lora_weights(self.halves(own_pipe), adapter_name="taken")
        assert own_pipe.get_active_adapters() == ["taken"]

    def test_into_models_without_adapters(self, own_pipe):
        before = state_of(own_pipe.unet, own_pipe.text_encoder)
        with pytest.raises(KeyError):  # peft's, of a name with a dot
            own_pipe.load_lora_weights(self.halves(own_pipe), adapter_name="a.b")
        unchanged(before, own_pipe.unet, own_pipe.text_encoder)
        assert not hasattr(own_pipe.unet, "peft_config")

    def test_interrupted_at_the_very_end(self, own_pipe, monkeypatch):
        load = own_pipe.text_encoder.load_lora_adapter

        def load_until_interrupted(*args, **kwargs):
            load(*args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr(own_pipe.text_encoder, "load_lora_adapter", load_until_interrupted)
        before = state_of(own_pipe.unet, own_pipe.text_encoder)
        with pytest.raises(KeyboardInterrupt):
            own_pipe.load_lora_weights(self.halves(own_pipe))
        unchanged(before, own_pipe.unet, own_pipe.text_encoder)

    def test_hotswap(self, own_pipe):
        unet = {name: value for name, value in self.halves(own_pipe).items() if name.startswith("unet")}
        fewer = peft("unet", matrices(own_pipe.unet, UNET_LAYERS[:2]))
        own_pipe.load_lora_weights(fewer, adapter_name="a")
        before = state_of(own_pipe.unet)
        with pytest.raises(RuntimeError, match="unexpected keys"):
            own_pipe.load_lora_weights(unet, adapter_name="a", hotswap=True)
        with pytest.raises(ValueError, match="possible in the U-Net alone"):
            own_pipe.load_lora_weights(self.halves(own_pipe), adapter_name="a", hotswap=True)
        unchanged(before, own_pipe.unet)

    @group_offload_without_gpu
    def test_offloading_goes_on(self, own_pipe, draw):
        self.occupy(own_pipe)
        expected = draw(own_pipe)
        for model in (own_pipe.unet, own_pipe.text_encoder):
            model.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")
        with pytest.raises(ValueError, match="taken already in use"):
            own_pipe.load_lora_weights(self.halves(own_pipe), adapter_name="taken")
        torch.testing.assert_close(draw(own_pipe), expected)
        for model in (own_pipe.unet, own_pipe.text_encoder):
            hooked = [m for m in model.modules() if getattr(getattr(m, "_diffusers_hook", None), "hooks", None)]
            assert any(module._diffusers_hook.get_hook("group_offloading") for module in hooked)

    @pytest.mark.parametrize("task", ["image to image", "inpainting", "ControlNet", "T2I-Adapter", "blocks"])
    def test_of_every_pipeline(self, own_pipe, task, tmp_path):
        if task == "blocks":
            pipe = HanDiffuserBlocks().init_pipeline()
            pipe.update_components(unet=own_pipe.unet, text_encoder=own_pipe.text_encoder)
        elif task == "ControlNet":
            controlnet = ControlNetModel.from_unet(own_pipe.unet)
            pipe = HanDiffuserControlNetPipeline.from_pipe(own_pipe, controlnet=controlnet)
        elif task == "T2I-Adapter":
            adapter = T2IAdapter(channels=[8], num_res_blocks=1, downscale_factor=2)
            pipe = HanDiffuserAdapterPipeline.from_pipe(own_pipe, adapter=adapter)
        else:
            classes = {"image to image": HanDiffuserImg2ImgPipeline, "inpainting": HanDiffuserInpaintPipeline}
            pipe = classes[task].from_pipe(own_pipe)
        self.occupy(pipe)
        self.fail(pipe)
