"""Stage 1 reads captions without the weights that are written into them, and without losing a word."""

import pytest
import torch

from diffusers_handiffuser import MINI, HanDiffuserPipeline
from diffusers_handiffuser.pipelines.prompt_weights import without_weights

WEIGHTED = [
    ("a hand making a (peace sign:1.3)", "a hand making a peace sign"),
    ("a (peace sign: 1.3 )", "a peace sign"),
    ("a (peace sign:.5), a (fist:0.)", "a peace sign, a fist:0."),
    ("a (peace sign:2)", "a peace sign"),
    ("a (peace sign:-1.5)", "a peace sign"),
    ("a (thumb: up:1.2)", "a thumb: up"),
    ("(a (peace sign:1.3):0.8) outside", "a peace sign outside"),
    ("((peace sign)) and (((fist)))", "peace sign and fist"),
    ("(peace sign), [fist], [[thumb up]]", "peace sign, fist, thumb up"),
    ("([peace] sign:1.2)", "peace sign"),
    ("[(peace sign:1.2)]", "peace sign"),
    ("(two\nhands:1.1)", "two\nhands"),
    ("(\u624b:1.2)", "\u624b"),
    (r"a hand \(left\)", "a hand (left)"),
    (r"a (hand \(left\):1.2) \[sic\]", "a hand (left) [sic]"),
    (r"(a \(b:1.2)", "a (b"),
    ("(version 2:1.5)", "version 2"),
]
KEPT = [
    "a right hand making a peace sign",
    "",
    "a hand :) and another ;(",
    "1) a hand 2) a fist",
    "a (hand] of [mine)",
    "() [] (  ) (...) [!]",
    "[fist:peace sign:0.5] and [fist|peace sign]",
    "a hand at 10:30, 16:9",
    "C:\\hands\\left",
    "a hand, weight:1.3",
    "a (hand",
    "a hand:1.3)",
    "<lora:hands:0.8> a hand",
]
WORDS_KEPT = [
    ("a hand (at 10:30)", "a hand at 10:30"),
    ("a picture (16:9)", "a picture 16:9"),
    ("a picture (format 16:9)", "a picture format 16:9"),
    ("a hand (fingers: 3)", "a hand fingers: 3"),
    ("a hand (left: palm up)", "a hand left: palm up"),
    ("(10:3.5)", "10:3.5"),
    ("(:1.3)", ":1.3"),
    ("a hand (fingers:3 of 5)", "a hand fingers:3 of 5"),
    ("hand(s) up", "hands up"),
    ("[left:right", "[left:right"),
    ("((a) b", "(a b"),
    ("(a) b)", "a b)"),
]


@pytest.mark.parametrize(("caption", "plain"), WEIGHTED)
def test_weights_go(caption, plain):
    assert without_weights(caption) == plain


@pytest.mark.parametrize("caption", KEPT)
def test_captions_without_weights_stay(caption):
    assert without_weights(caption) == caption


@pytest.mark.parametrize(("caption", "plain"), WORDS_KEPT)
def test_words_stay_where_the_brackets_go(caption, plain):
    assert without_weights(caption) == plain


def test_long_captions_take_no_long_time():
    assert without_weights("(" * 5000 + "a" + ")" * 5000) == "a"
    assert without_weights("(" * 5000 + " " * 5000 + ":") == "(" * 5000 + " " * 5000 + ":"


def test_plain_words_stay():
    """Plain words are read again as they are."""
    for caption, plain in (*WEIGHTED, *WORDS_KEPT):
        if "\\" not in caption:
            assert without_weights(plain) == plain


class TestOfThePipeline:
    def test_hands_are_those_of_the_plain_caption(self, pipe):
        """And the caption of stage 2 stays as it was written."""

        def draw(prompt, **changes):
            return pipe(prompt, generator=torch.Generator().manual_seed(0), output_type="pt", **changes)

        plain, weighted = draw("a peace sign"), draw("a (peace sign:1.3)")
        assert torch.equal(plain.hand_params.right_hand_pose, weighted.hand_params.right_hand_pose)
        assert not torch.equal(plain.images, weighted.images)
        again = draw("a (peace sign:1.3)", hand_params=plain.hand_params)
        assert torch.equal(again.images, weighted.images)

    def test_of_the_bundled_checkpoint(self):
        pipe = HanDiffuserPipeline.from_pretrained(MINI)
        pipe.set_progress_bar_config(disable=True)
        captions = [
            f"a right hand making {words}" for words in ("a peace sign", "a (peace sign:1.3)", "((a peace sign))")
        ]
        poses = [
            pipe.sample_hand_params(
                caption, num_hand_inference_steps=2, hand_generator=torch.Generator().manual_seed(0)
            ).right_hand_pose
            for caption in captions
        ]
        assert torch.equal(poses[0], poses[1]) and torch.equal(poses[0], poses[2])
