import pytest

from diffusers_handiffuser.data.rows import hand_features


def test_every_public_name_is_there():
    from diffusers_handiffuser import data

    assert all(getattr(data, name) is not None for name in data.__all__)
    assert hand_features() == data.HAND_FEATURES and set(data.__all__) <= set(dir(data))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018
