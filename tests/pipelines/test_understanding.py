"""Which prompts stage 1 says it can read, and the warning about the others."""

import random

import pytest
import torch
from transformers import BertTokenizer

from diffusers_handiffuser import MINI, HanDiffuserBlocks, HanDiffuserPipeline
from diffusers_handiffuser.pipelines.understanding import _ENGLISH, _FOREIGN, reason_not_understood
from diffusers_handiffuser.studio import describe, sample_scene

SAID = {
    "has no words": ["", "  ", "\N{THUMBS UP SIGN}", "12345", "?!"],
    "is not written in Latin letters": ["рука показывает знак мира", "一只手做和平手势", "ειρήνη hand"],
    "looks like code, markup or an address": [
        "<div class='x'>hand</div>",
        "def f(x):\n    return x == 1; print(x)",
        "SELECT * FROM hands WHERE side='left';",
        '{"hand": "left"}',
        "https://example.com/hand.png",
    ],
    "is not in English": [
        "eine Frau zeigt mit der linken Hand das Friedenszeichen",
        "une femme fait un signe de paix avec la main gauche",
        "una mujer hace el signo de la paz con la mano",
    ],
    "has too many words that the text model does not know, such as 'lkjasdf'": ["lkjasdf qwoeiru zxcmvn"],
    "is longer than the 77 tokens that are read": ["hand " * 500],
}
UNDERSTOOD = ["hand", "a right hand making a peace sign", "A LEFT HAND, a fist, on a blue background!", "a (fist:1.3)"]


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """Whole words of the prompts here, and single letters."""
    words = {word for text in UNDERSTOOD for word in "".join(x if x.isalpha() else " " for x in text.lower()).split()}
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters), *sorted(words)]
    path = tmp_path_factory.mktemp("english") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(vocabulary)), encoding="utf-8")
    return BertTokenizer(str(path), model_max_length=77)


@pytest.mark.parametrize("reason", SAID)
def test_what_is_not_understood(english, reason):
    for text in SAID[reason]:
        assert reason_not_understood(text, english, 77) == reason, text


def test_english_words_are_not_foreign():
    english = {"come", "con", "den", "die", "do", "en", "men", "met", "on", "per", "van", "was", "war", *_ENGLISH}
    assert not _FOREIGN & english


def test_what_is_understood(english):
    for text in UNDERSTOOD:
        assert reason_not_understood(text, english, 77) is None, text


@pytest.fixture(scope="module")
def mini():
    return HanDiffuserPipeline.from_pretrained(MINI, unet=None, vae=None, text_encoder=None)


def test_the_bundled_checkpoint_understands_the_studio(mini):
    texts = [describe(sample_scene(3, "test", i), random.Random(i)) for i in range(300)]
    assert [text for text, known in zip(texts, mini.understands(texts), strict=True) if not known] == []


def test_odd_prompts_have_hands_and_one_warning(mini, caplog):
    odd = [text for texts in SAID.values() for text in texts]
    assert mini.understands([*odd, UNDERSTOOD[1]]) == [False] * len(odd) + [True]
    hands = mini.sample_hand_params([UNDERSTOOD[1], *odd], num_hand_inference_steps=2, hand_generator=seeded())
    assert len(hands) == len(odd) + 1 and torch.isfinite(hands.full_pose).all()
    printed = caplog.text
    assert printed.count("Stage 1 does not understand") == 1
    assert f"understand {len(odd)} of {len(odd) + 1} prompts" in printed and "prompt 1 has no words" in printed


def test_nothing_is_said_of_other_prompts(mini, caplog):
    mini.sample_hand_params(UNDERSTOOD[1], num_hand_inference_steps=2, hand_generator=seeded())
    assert "understand" not in caplog.text


def test_modular_pipelines_warn_too(caplog):
    pipe = HanDiffuserBlocks().sub_blocks["hands"].init_pipeline(MINI)
    pipe.load_components()
    pipe(prompt=["a right hand making a fist", "привет"], num_hand_inference_steps=2, output="hand_params")
    assert "prompt 1 is not written in Latin letters" in caplog.text


def test_a_pipeline_without_stage_1_cannot_say(pipe):
    bare = HanDiffuserPipeline.from_pipe(pipe, hand_tokenizer=None, hand_text_encoder=None)
    with pytest.raises(ValueError, match="`hand_tokenizer` is needed for reading prompts"):
        bare.understands("a hand")


def seeded():
    return torch.Generator().manual_seed(0)
