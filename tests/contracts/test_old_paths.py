"""Import paths of the last release go on working for one more, with a warning that names the new one."""

import importlib
import warnings

import pytest

from diffusers_handiffuser.data import curation
from diffusers_handiffuser.utils.moved import moved_module, moved_names, renamed_names

DETECTION = "diffusers_handiffuser.detection"
MOVED_MODULES = {
    "diffusers_handiffuser.evaluation.detectors": {
        "Detection": f"{DETECTION}.detector",
        "HandDetector": f"{DETECTION}.detector",
        "MediaPipeDetector": f"{DETECTION}.mediapipe_hands",
        "load_detector": f"{DETECTION}.loading",
    },
    "diffusers_handiffuser.evaluation.mediapipe_worker": {"with_solutions": f"{DETECTION}.mediapipe_worker"},
    "diffusers_handiffuser.data.importers.fitting": {"HandFit": f"{DETECTION}.fitting"},
    "diffusers_handiffuser.data.importers.landmarks": {"fit_landmarks": f"{DETECTION}.landmarks"},
    "diffusers_handiffuser.data.importers.least_squares": {"minimize": f"{DETECTION}.least_squares"},
    "diffusers_handiffuser.data.importers.placing": {"place_hands": f"{DETECTION}.placing"},
}


@pytest.mark.parametrize("old", MOVED_MODULES)
def test_old_modules_lead_to_the_new_ones(old):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = importlib.import_module(old)
    for name, new in MOVED_MODULES[old].items():
        with pytest.warns(FutureWarning, match=f"`{old}.{name}` moved to `{new}.{name}`") as caught:
            found = getattr(module, name)
        assert found is getattr(importlib.import_module(new), name)
        assert caught[0].filename == __file__


def test_import_statements_warn_at_their_own_line():
    with pytest.warns(FutureWarning) as caught:
        from diffusers_handiffuser.data.importers.landmarks import fit_landmarks  # noqa: F401
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Crowd", "MaxPeople"),
        ("Detector", "PairDetector"),
        ("DetectorDisagrees", "DetectorAgrees"),
        ("HandOutside", "HandsInside"),
        ("SmallHand", "MinHandSize"),
    ],
)
def test_old_names_of_the_rules_lead_to_the_new_ones(old, new):
    room = curation.__name__
    with pytest.warns(FutureWarning, match=f"`{room}.{old}` is now `{room}.{new}`") as caught:
        found = getattr(curation, old)
    assert found is getattr(curation, new)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "find",
    [moved_module("old", "math"), moved_names("old", {"pi": "math"}), renamed_names("old", {"pi": "tau"})],
)
def test_names_that_never_were_are_errors_of_the_old_module(find):
    with pytest.raises(AttributeError, match="module 'old' has no attribute 'tau_'"):
        find("tau_")
