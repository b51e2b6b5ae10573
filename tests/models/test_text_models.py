"""Any text model serves stage 1: a BERT beside CLIP, loaded by the class that it was saved as."""

import copy
import json

import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import BertModel, T5Config, T5EncoderModel

from diffusers_handiffuser import HanDiffuserBlocks, HanDiffuserPipeline, TextToHandParamsModel
from diffusers_handiffuser.models.text_models import load_text_model, load_tokenizer, text_length
from diffusers_handiffuser.pipelines.hand_sampling import encode_text_for_hands

PROMPT = "a right hand making a peace sign"


@pytest.fixture
def bert_pipe(pipe, bert, bert_tokenizer):
    """The pipeline with a BERT for stage 1."""
    torch.manual_seed(0)
    config = {**pipe.text_to_hand_params.config, "cross_attention_dim": bert.config.hidden_size}
    model = TextToHandParamsModel.from_config(config).eval()
    parts = {**pipe.components, "hand_tokenizer": bert_tokenizer, "hand_text_encoder": bert}
    return HanDiffuserPipeline(**{**parts, "text_to_hand_params": model}, requires_safety_checker=False)


@pytest.fixture
def folder(bert_pipe, tmp_path):
    bert_pipe.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def seeded():
    return torch.Generator().manual_seed(0)


def same_hands(one, other):
    return torch.equal(one.full_pose, other.full_pose) and torch.equal(one.camera, other.camera)


def test_a_bert_is_saved_and_loaded_by_the_bare_pipeline_in_silence(bert_pipe, folder, capfd, caplog):
    hands = bert_pipe.sample_hand_params(PROMPT, num_hand_inference_steps=3, hand_generator=seeded())
    capfd.readouterr()
    for loader in (DiffusionPipeline, HanDiffuserPipeline):
        loaded = loader.from_pretrained(folder)
        assert type(loaded.hand_text_encoder) is BertModel
        again = loaded.sample_hand_params(PROMPT, num_hand_inference_steps=3, hand_generator=seeded())
        assert same_hands(hands, again)
    printed = capfd.readouterr()
    assert "xpected" not in printed.out + printed.err + caplog.text
    index = json.loads((folder / "model_index.json").read_text())
    assert index["hand_text_encoder"] == ["transformers", "BertModel"]


def test_modular_pipelines_load_it_too(bert_pipe, folder):
    pipe = HanDiffuserBlocks().init_pipeline(str(folder))
    pipe.load_components()
    assert type(pipe.hand_text_encoder) is BertModel
    for key, value in bert_pipe.hand_text_encoder.state_dict().items():
        assert torch.equal(value, pipe.hand_text_encoder.state_dict()[key])


@pytest.mark.parametrize("loader", [DiffusionPipeline, HanDiffuserPipeline])
def test_an_index_that_names_another_class_is_refused(folder, loader):
    """transformers would draw CLIP's weights at random."""
    index = json.loads((folder / "model_index.json").read_text())
    index["hand_text_encoder"] = ["transformers", "CLIPTextModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="hand_text_encoder"):
        loader.from_pretrained(folder)


def test_modular_pipelines_refuse_it_too(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["hand_text_encoder"] = ["transformers", "CLIPTextModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    pipe = HanDiffuserBlocks().init_pipeline(str(folder))
    with pytest.raises(ValueError, match="hand_text_encoder"):
        pipe.load_components("hand_text_encoder")
    assert pipe.hand_text_encoder is None


def test_the_class_is_the_one_of_the_config(folder, bert):
    loaded = load_text_model(folder, "hand_text_encoder")
    assert type(loaded) is BertModel
    assert torch.equal(loaded.embeddings.word_embeddings.weight, bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("names", [["NoSuchModel"], None, ["BertTokenizer"]])
def test_a_config_without_a_model_is_refused(folder, names):
    path = folder / "hand_text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": names}))
    with pytest.raises(
        ValueError, match="hand_text_encoder.* has the architecture .*; wanted a model of transformers"
    ):
        load_text_model(folder, "hand_text_encoder")


def test_missing_weights_are_refused_by_name(folder):
    path = folder / "hand_text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"`hand_text_encoder` has no weights for 'encoder.layer.2"):
        load_text_model(folder, "hand_text_encoder")


def test_tokenizers_are_of_the_class_they_were_saved_as(folder, bert_tokenizer, pipe):
    assert load_tokenizer(folder, "hand_tokenizer")("a hand").input_ids == bert_tokenizer("a hand").input_ids
    pipe.hand_tokenizer.save_pretrained(folder / "clip")
    assert type(load_tokenizer(folder / "clip")) is type(pipe.hand_tokenizer)


def test_texts_are_padded_to_what_the_tokenizer_was_saved_with(bert, bert_tokenizer):
    states, mask = encode_text_for_hands(bert_tokenizer, bert, ["a hand", "hand " * 100], "cpu")
    assert states.shape == (2, 40, 32)
    assert mask.sum(1).tolist() == [4, 40]
    alone, _ = encode_text_for_hands(bert_tokenizer, bert, ["a hand"], "cpu")
    assert torch.equal(alone[0, :4], states[0, :4])


def test_a_model_without_positions_needs_a_length(bert_tokenizer):
    t5 = T5EncoderModel(T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)).eval()
    assert text_length(bert_tokenizer, t5) == 40
    states, _ = encode_text_for_hands(bert_tokenizer, t5, ["a hand"], "cpu")
    assert states.shape == (1, 40, 16)
    endless = copy.deepcopy(bert_tokenizer)
    endless.model_max_length = int(1e30)
    with pytest.raises(ValueError, match="`hand_tokenizer` has no `model_max_length`"):
        text_length(endless, t5)


def test_tokenizer_and_model_belong_together(pipe, bert):
    with pytest.raises(ValueError, match=r"`hand_tokenizer` has \d+ tokens, but `hand_text_encoder`, a BertModel"):
        encode_text_for_hands(pipe.hand_tokenizer, bert, ["a hand"], "cpu")


@pytest.mark.parametrize("name", ["pipeline", "BertModel", "AutoModel", 3])
def test_a_config_without_a_tokenizer_is_refused(folder, name):
    path = folder / "hand_tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": name}))
    with pytest.raises(ValueError, match="hand_tokenizer' names .* as its tokenizer; wanted one of transformers"):
        load_tokenizer(folder, "hand_tokenizer")


def test_models_that_another_library_builds_are_refused(folder):
    path = folder / "hand_text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["TimmWrapperModel"]}))
    with pytest.raises(ValueError, match="has the architecture 'TimmWrapperModel'"):
        load_text_model(folder, "hand_text_encoder")
