"""MediaPipe as a detector, here and in another Python, detectors by name, and MediaPipe's own results.

MediaPipe itself is a stand-in here, but for the last tests, which need the extra `detect`.
"""

import importlib.util
import sys
import textwrap
from argparse import ArgumentParser
from types import SimpleNamespace as N

import numpy as np
import pytest
from PIL import Image

from diffusers_handiffuser.cli import main
from diffusers_handiffuser.cli.options import add_detector_options, open_detector
from diffusers_handiffuser.detection.detector import detect_hands
from diffusers_handiffuser.detection.mediapipe_hands import mediapipe_hands
from diffusers_handiffuser.evaluation import MediaPipeDetector, evaluate, load_detector, read_rows
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import make_dataset

PACKAGE = {
    "mediapipe/__init__.py": "",
    "mediapipe-0.10.21.dist-info/METADATA": "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n",
    "mediapipe/python/__init__.py": "",
    "mediapipe/python/solution_base.py": """
        from types import SimpleNamespace as N

        def point(x, y):
            return N(x=x, y=y, z=0.25)

        class SolutionBase:
            def __init__(self, binary_graph_path, side_inputs, calculator_params, outputs):
                assert "palm_detections" in outputs
                self.hands = side_inputs["num_hands"]
                (self.threshold,) = set(calculator_params.values())

            def process(self, input_data):
                image = input_data["image"]
                if image.max() == 255:
                    raise SystemExit(3)
                if not image.any():
                    return N(multi_hand_landmarks=None, multi_hand_world_landmarks=None, multi_handedness=None,
                             palm_detections=None)
                hands = [N(landmark=[point(0.1 + k / 2, 0.2)] * 21) for k in range(2)][: self.hands]
                palms = [N(score=[0.9 - 0.2 * k], location_data=N(relative_keypoints=[point(0.1 + k / 2, 0.2)] * 7))
                         for k in range(2)]
                labels = [N(classification=[N(label=label, score=0.5)]) for label in ("Left", "Right")]
                return N(multi_hand_landmarks=hands, multi_hand_world_landmarks=hands,
                         multi_handedness=labels[: self.hands], palm_detections=palms[::-1])
    """,
}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    for name, code in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def detector(stand_in):
    with pytest.warns(FutureWarning, match="in another Python .* is deprecated: the extra `detect`"):
        detector = MediaPipeDetector(python=sys.executable)
    yield detector
    detector.close()


def test_in_another_python(detector):
    assert detector.version == "0.10.21"
    image = np.full((40, 80, 3), 7, np.uint8)
    for _ in range(2):
        first, second = detect_hands(detector, image)
        assert (first.side, second.side) == ("right", "left")  # MediaPipe assumes a selfie
        assert first.landmarks[0] == pytest.approx([8, 8]) and second.landmarks[20] == pytest.approx([48, 8])
        assert first.landmarks_3d.shape == (21, 3)
    assert detector(np.zeros((3, 5, 3), np.uint8)) == []


def test_confidence_is_the_palms_and_not_the_sides(detector):
    first, second = detector(np.full((8, 8, 3), 7, np.uint8))
    assert first.confidence == pytest.approx(0.9) and second.confidence == pytest.approx(0.7)


def test_one_hand_at_most(stand_in):
    detector = MediaPipeDetector(python=sys.executable, max_hands=1)
    assert len(detector(np.full((8, 8, 3), 7, np.uint8))) == 1
    detector.close()


def test_a_detector_that_dies_is_an_error(detector):
    with pytest.raises(ChildProcessError, match="code 3"):
        detector(np.full((8, 8, 3), 255, np.uint8))


def test_a_python_without_mediapipe(tmp_path, monkeypatch):
    (tmp_path / "mediapipe.py").write_text("raise ImportError('none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ImportError, match="The extra `detect` installs it .* HANDIFFUSER_HAND_LANDMARKER"):
        MediaPipeDetector(python=sys.executable)


def test_images_are_checked(detector):
    for image in (np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8)):
        with pytest.raises(ValueError, match="`image` must be uint8 of shape"):
            detector(image)
    with pytest.raises(TypeError, match="`image` must be an array, got Image"):
        detector(Image.new("RGB", (8, 8)))


def test_a_closed_one_says_so(detector):
    detector.close()
    with pytest.raises(ValueError, match="the detector was closed"):
        detector(np.zeros((8, 8, 3), np.uint8))


def test_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def find(image):\n    return []\n")
    assert load_detector("mine:find")(np.zeros((2, 2, 3), np.uint8)) == []
    with pytest.raises(ValueError, match="--detector must be mediapipe, a .task file or MODULE:FUNCTION"):
        load_detector("yolo")
    with pytest.raises(ValueError, match="mine has no 'nothing'"):
        load_detector("mine:nothing")
    with pytest.raises(FileNotFoundError, match="absent.task"):
        load_detector("absent.task")


def test_commands_open_and_close_it(stand_in):
    parser = ArgumentParser()
    add_detector_options(parser, "what for")
    options = parser.parse_args(["--detector", "mediapipe", "--detector-python", sys.executable])
    image = np.full((8, 8, 3), 7, np.uint8)
    with open_detector(options) as detector:
        assert len(detector(image)) == 2
    with pytest.raises(ValueError, match="the detector was closed"):
        detector(image)
    with open_detector(parser.parse_args([])) as detector:
        assert detector is None


def test_curation_takes_it_by_name(capsys):
    options = ["--detector", "mediapipe", "--detector-python", "no-such-python"]
    assert main(["data", "curate", "data", "out", *options]) == 2
    assert "no-such-python" in capsys.readouterr().err


def test_the_landmarkers_file_by_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDIFFUSER_HAND_LANDMARKER", str(tmp_path / "absent.task"))
    for open_it in (MediaPipeDetector, lambda: load_detector("mediapipe")):
        with pytest.raises(FileNotFoundError, match=r"HANDIFFUSER_HAND_LANDMARKER: there is no file .*absent.task"):
            open_it()
    with pytest.raises(FileNotFoundError, match=r"`task`: there is no file 'mine.task'"):
        MediaPipeDetector("mine.task")


class TestOwnResults:
    """Both forms say the same of a right hand and a left one."""

    POINTS = np.arange(63.0).reshape(21, 3) / 100

    def points(self, shift=0.0):
        return [N(x=x + shift, y=y, z=z) for x, y, z in self.POINTS]

    def task(self, **changes):
        hands = [self.points(), self.points(0.1)]
        labels = [[N(category_name="Right", score=0.9)], [N(category_name="Left", score=0.8)]]
        return N(**{"hand_landmarks": hands, "hand_world_landmarks": hands, "handedness": labels, **changes})

    def solutions(self, **changes):
        hands = [N(landmark=self.points()), N(landmark=self.points(0.1))]
        labels = [N(classification=[N(label=label, score=0.9)]) for label in ("Left", "Right")]  # of a selfie
        fields = {"multi_hand_landmarks": hands, "multi_hand_world_landmarks": hands, "multi_handedness": labels}
        return N(**{**fields, **changes})

    @pytest.mark.parametrize("form", ["task", "solutions"])
    def test_hands(self, form):
        right, left = mediapipe_hands(getattr(self, form)(), width=200, height=100)
        assert (right.side, left.side) == ("right", "left") and right.confidence is None
        assert right.landmarks == pytest.approx(self.POINTS[:, :2] * [200, 100])
        assert left.landmarks == pytest.approx((self.POINTS[:, :2] + [0.1, 0]) * [200, 100])
        assert right.landmarks_3d == pytest.approx(self.POINTS)

    def test_of_a_mirrored_image(self):
        assert mediapipe_hands(self.task(), 2, 2, mirrored=True)[0].side == "left"
        assert mediapipe_hands(self.solutions(), 2, 2, mirrored=False)[0].side == "left"

    def test_no_hands_and_no_world_landmarks(self):
        none = dict.fromkeys(("multi_hand_landmarks", "multi_hand_world_landmarks", "multi_handedness"))
        assert mediapipe_hands(N(**none), 2, 2) == []
        assert mediapipe_hands(self.task(hand_landmarks=[], hand_world_landmarks=[], handedness=[]), 2, 2) == []
        (hand, _) = mediapipe_hands(self.solutions(multi_hand_world_landmarks=None), 2, 2)
        assert hand.landmarks_3d is None

    def test_others_are_refused(self):
        with pytest.raises(TypeError, match="`result` must be one of MediaPipe's hand landmarkers, got list"):
            mediapipe_hands([], 2, 2)
        with pytest.raises(ValueError, match="got 2 hands, 1 sides and 2 world landmarks"):
            mediapipe_hands(self.solutions(multi_handedness=self.solutions().multi_handedness[:1]), 2, 2)


@pytest.fixture(scope="module")
def real():
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("needs the extra `detect`")
    return MediaPipeDetector()


@pytest.fixture(scope="module")
def rows(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio") / "data"
    return read_rows(make_dataset(folder, 20, "test", size=128, progress=False).parent)


class TestTheRealOne:
    """On images of the studio, whose hands are known."""

    def test_finds_hands(self, rows, real):
        found = evaluate(None, rows, detector=real).estimates["detector"]
        assert real.version == "0.10.21"
        assert found["detected"].value > 0.7 and found["handedness_found"].value > 0.8
        assert found["confidence_found"].value > 0.6 and found["joint_error"].value < 0.15

    def test_axes_in_3d_are_those_of_the_camera_frame(self, rows, real, body):
        """Neither mirrored nor rotated: the best rotation of each hand onto the true joints is small."""
        turns = []
        for row in rows:
            truth = body(row.hand_params.reshape(1)).joints_3d[0].numpy()
            for hand in real(np.asarray(row.picture.open())):
                true = truth[SIDES.index(hand.side)]
                centred = [points - points.mean(0) for points in (hand.landmarks_3d, true)]
                left, sizes, right = np.linalg.svd(centred[1].T @ centred[0])
                assert sizes[2] > 0
                turns.append(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))
        assert len(turns) > 10 and np.median(turns) < 20
