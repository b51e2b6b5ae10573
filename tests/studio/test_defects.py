import random

import pytest

from diffusers_handiffuser.studio import DEFECTS, Defect, Scene, gesture_by_name, sample_defect, sample_scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene(0, "train", index) for index in range(40)]


class TestSampleDefect:
    def test_is_of_a_raised_hand_and_of_every_kind(self, scenes):
        defects = [sample_defect(s, random.Random(f"{k} {i}")) for k in range(5) for i, s in enumerate(scenes)]
        assert {defect.kind for defect in defects} == set(DEFECTS)
        for defect, scene in zip(defects, 5 * scenes, strict=True):
            assert defect.side in scene.gestures

    def test_is_a_function_of_scene_and_seed(self, scenes):
        first, again, other = ([sample_defect(s, random.Random(seed)) for s in scenes] for seed in (1, 1, 2))
        assert first == again
        assert first != other

    @pytest.mark.parametrize("kind", DEFECTS)
    def test_is_of_the_kind_that_is_asked_for(self, scenes, kind):
        assert {sample_defect(scene, random.Random(3), kind).kind for scene in scenes} == {kind}

    def test_prefers_extended_fingers(self, scenes):
        for scene in scenes:
            defect = sample_defect(scene, random.Random(4), "missing_finger")
            extended = gesture_by_name(scene.gestures[defect.side]).extended
            assert defect.finger in extended or not extended

    def test_of_a_scene_without_hands_is_refused(self):
        with pytest.raises(ValueError, match="`scene` must raise a hand, but is 'empty'"):
            sample_defect(sample_scene(0, "train", 0, "empty"), random.Random(0))


class TestDefect:
    def test_survives_a_row(self, scenes):
        defect = sample_defect(scenes[0], random.Random(5))
        assert Defect(**defect.to_dict()) == defect

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"kind": "sixth"}, "must be one of extra_finger, .*, got 'sixth'"),
            ({"side": "up"}, "`side` must be one of"),
            ({"kind": "bent_backwards", "finger": "thumb"}, "`finger` of 'bent_backwards' must be one of"),
            ({"kind": "fused_fingers", "finger": "pinky"}, "`finger` of 'fused_fingers'"),
            ({"kind": "blurred", "finger": "index"}, "`finger` of 'blurred'"),
            ({"finger": None}, "`finger` of 'too_long'"),
            ({"amount": 0.0}, "`amount` must be positive"),
            ({"amount": float("nan")}, "`amount` must be positive"),
        ],
    )
    def test_refuses_what_there_is_not(self, values, message):
        with pytest.raises(ValueError, match=message):
            Defect(**{"kind": "too_long", "side": "left", "finger": "index", **values})
