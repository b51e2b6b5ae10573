"""The nearest name for one that there is not."""

import inspect

import pytest

from diffusers_handiffuser.data import open_dataset, stream_dataset
from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.utils.suggestions import did_you_mean, nearest_name, suggests_keywords

NAMES = ("prompt", "num_inference_steps", "num_hand_inference_steps", "guidance_scale", "HandParams")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("promt", "prompt"),
        ("guidance", "guidance_scale"),
        ("steps", "num_inference_steps"),
        ("hand_steps", "num_hand_inference_steps"),
        ("scale", "guidance_scale"),
        ("handparams", "HandParams"),
        ("--steps", "num_inference_steps"),
        ("", None),
        ("__", None),
        ("zzz", None),
    ],
)
def test_nearest_name(name, nearest):
    assert nearest_name(name, NAMES) == nearest
    wanted = "." if nearest is None else f"; did you mean '{nearest}'?"
    assert did_you_mean(name, NAMES, quote="'") == wanted


def test_keywords_of_a_function():
    @suggests_keywords
    def draw(image, *, size=1):
        return image, size

    assert draw(2, size=3) == (2, 3) and list(inspect.signature(draw).parameters) == ["image", "size"]
    with pytest.raises(TypeError, match="draw has no argument `sise`; did you mean `size`"):
        draw(2, sise=3)
    with pytest.raises(TypeError, match="image"):
        draw()


@pytest.mark.parametrize("function", [open_dataset, stream_dataset, make_dataset])
def test_of_data_sets(function, tmp_path):
    with pytest.raises(TypeError, match="did you mean `split`"):
        function(tmp_path / "data", splt="train")
