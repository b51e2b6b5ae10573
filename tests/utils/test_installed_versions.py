import numpy

from diffusers_handiffuser.utils.versions import installed_versions


def test_versions_of_what_is_installed():
    assert installed_versions(["no-such-package", "numpy"]) == {"numpy": numpy.__version__}
