import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from repair_room import make_room

from diffusers_handiffuser.repair.drawn_kinds import has_texture, warn_of_another_kind


def textured():
    return np.random.default_rng(0).normal(128, 20, (120, 90, 3)).clip(0, 255).astype(np.uint8)


def test_texture():
    assert has_texture(textured()) and not has_texture(np.asarray(make_room("person", side=300).image))
    assert not has_texture(np.zeros((2, 5, 3), np.uint8))


def test_a_pipeline_warns_of_images_that_it_does_not_draw():
    pipe = SimpleNamespace(config=SimpleNamespace(image_domain="renderings of hands"))
    with pytest.warns(UserWarning, match="draws renderings of hands, but the image looks like a photograph"):
        warn_of_another_kind(pipe, textured())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_another_kind(pipe, np.asarray(make_room().image))
        for other in (SimpleNamespace(config=SimpleNamespace(image_domain="photographs")), SimpleNamespace(), None):
            warn_of_another_kind(other, textured())
