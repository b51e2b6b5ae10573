"""Tiny real components, built without network. No mocks: what the tests run is what users run, only smaller."""

import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: one thread each, here and in their processes
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import pytest
import releases  # noqa: F401  # what it sets holds for all tests
import torch
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import diffusers_handiffuser
from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserPipeline,
    HandParams,
    TextHandEncoder,
    TextToHandParamsModel,
)

WIDTH = 16


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay together, as they share fixtures, and files with the slowest tests come first."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items):
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A CLIP tokenizer without merges: one token per byte."""
    folder = tmp_path_factory.mktemp("tokenizer")
    alphabet = sorted(ByteLevel.alphabet())
    tokens = alphabet + [letter + "</w>" for letter in alphabet] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def clip_text_model(tokenizer):
    """What Stable Diffusion would use; `components["text_encoder"]` starts from it."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


@pytest.fixture(scope="session")
def picture_components(tokenizer):
    """Stable Diffusion's components but for the text encoder: 16x16 pictures, 8x8 latents."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    return {"unet": unet.eval(), "vae": vae.eval(), "tokenizer": tokenizer, "feature_extractor": None}


@pytest.fixture(scope="session")
def hand_components(tokenizer, clip_text_model):
    torch.manual_seed(2)
    text_encoder = TextHandEncoder.from_clip(clip_text_model, hand_hidden_size=32, num_basis_points=16)
    text_to_hand_params = TextToHandParamsModel(
        hidden_size=32, num_layers=1, num_attention_heads=2, cross_attention_dim=WIDTH
    )
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(52)
    mean = torch.cat([identity, torch.zeros(10), torch.tensor([1.5, 0, 0, 0.5, 0.5])])
    std = torch.full((327,), 0.3)
    text_to_hand_params.set_statistics(mean, std)
    return {
        "text_encoder": text_encoder.eval(),
        "hand_tokenizer": tokenizer,
        "hand_text_encoder": clip_text_model,
        "text_to_hand_params": text_to_hand_params.eval(),
        "body_model": HandBodyModel.procedural(),
    }


def picture_scheduler() -> DDIMScheduler:
    return DDIMScheduler(steps_offset=1, clip_sample=False, set_alpha_to_one=False, beta_schedule="scaled_linear")


def hand_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
    )


@pytest.fixture(scope="session")
def make_pipe(picture_components, hand_components):
    """Builds a pipeline around the shared models with schedulers of its own; takes constructor arguments."""

    def make(**changes) -> HanDiffuserPipeline:
        arguments = {
            **picture_components,
            **hand_components,
            "scheduler": picture_scheduler(),
            "text_to_hand_scheduler": hand_scheduler(),
            "safety_checker": None,
            "requires_safety_checker": False,
            "default_num_inference_steps": 2,
            "default_num_hand_inference_steps": 2,
        }
        pipe = HanDiffuserPipeline(**{**arguments, **changes})
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


@pytest.fixture
def pipe(make_pipe):
    return make_pipe()


@pytest.fixture
def text_only_pipe(make_pipe):
    """Without stage 1 and body: what is left is Stable Diffusion."""
    names = ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params", "text_to_hand_scheduler", "body_model")
    return make_pipe(**dict.fromkeys(names))


@pytest.fixture
def hands():
    """Two rows: the first with both hands visible, the second with the right one alone."""
    rows = HandParams.zeros(2)
    pose = torch.linspace(-0.4, 0.4, 90).reshape(2, 45)
    visible = torch.tensor([[True, True], [False, True]])
    return rows.replace(right_hand_pose=pose, left_hand_pose=-pose, hand_visible=visible)


@pytest.fixture(scope="session")
def quick_checkpoint(tmp_path_factory):
    """The bundled checkpoint with two steps by default."""
    folder = shutil.copytree(diffusers_handiffuser.MINI, tmp_path_factory.mktemp("quick") / "mini")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index |= {"default_num_inference_steps": 2, "default_num_hand_inference_steps": 2}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return str(folder)


@pytest.fixture
def quick_mini(quick_checkpoint, monkeypatch):
    """`diffusers_handiffuser.MINI` takes two steps by default."""
    monkeypatch.setattr(diffusers_handiffuser, "MINI", quick_checkpoint)


@pytest.fixture
def one_thread():
    """Small models run faster so, and always in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fresh_accelerator():
    """Leaves no accelerate state behind, which later accelerators of the process would share."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def bert_tokenizer(tmp_path_factory):
    """WordPiece over single letters and two words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters), "hand", "sign"]
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(vocabulary), encoding="utf-8")
    return BertTokenizer(str(path), model_max_length=40)


@pytest.fixture(scope="session")
def bert(bert_tokenizer):
    """A text model that is not CLIP."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertModel(BertConfig(vocab_size=len(bert_tokenizer), max_position_embeddings=64, **sizes)).eval()
