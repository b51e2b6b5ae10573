"""Old names of arguments."""

import warnings

import pytest

from diffusers_handiffuser.utils.moved import renamed_argument


@renamed_argument("pictures", "images")
def count(images: list, start: int = 0) -> int:
    """Counts."""
    return start + len(images)


class TestRenamedArgument:
    def test_the_old_name_warns_and_works(self):
        with pytest.warns(FutureWarning, match="`pictures` is deprecated: use `images`") as caught:
            assert count(pictures=[1, 2], start=1) == 3
        assert caught[0].filename == __file__

    def test_other_calls_do_not_warn(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert count([1, 2]) == count(images=[1, 2]) == 2

    def test_both_names_are_refused(self):
        with pytest.warns(FutureWarning), pytest.raises(TypeError, match="images"):
            count([1], pictures=[1])
        with pytest.raises(TypeError, match="pictures"):
            count(images=[1], pictures=[1, 2])

    def test_keeps_name_and_docstring(self):
        assert (count.__name__, count.__doc__) == ("count", "Counts.")
