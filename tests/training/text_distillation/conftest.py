"""The teacher of these tests."""

import pytest
from small_teacher import write_teacher


@pytest.fixture(scope="session")
def teacher_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    write_teacher(folder)
    return folder
