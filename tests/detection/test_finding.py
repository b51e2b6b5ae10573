"""Hands in photographs: retries, their order, what is left out. The detectors here see one bright square."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from diffusers_handiffuser.detection.detector import DetectedHand
from diffusers_handiffuser.detection.finding import find_hands, open_detector, read_photograph

HAND = np.stack([np.tile(np.arange(7.0), 3), np.repeat(np.arange(3.0), 7)], -1)
METRES = np.concatenate([HAND, np.zeros((21, 1))], -1) / 50


class Bright:
    """Finds a hand at the brightest pixel, as small as a square of it, if it is neither too near the edge nor small.

    Args:
        margin: of the shorter side of the view, that the pixel has to be away from its edge.
        size: largest side of a view.
    """

    def __init__(self, margin=0.0, size=10**6):
        self.margin, self.size, self.shapes = margin, size, []

    def __call__(self, image):
        self.shapes.append(image.shape[:2])
        grey = image.max(-1)
        y, x = np.unravel_index(grey.argmax(), grey.shape)
        height, width = grey.shape
        edge = min(x, y, width - 1 - x, height - 1 - y) / min(height, width)
        if grey[y, x] < 255 or edge < self.margin or max(height, width) > self.size:
            return []
        return [DetectedHand("left", HAND + [x, y], 0.5, METRES)]


def image_with(x, y, width=400, height=300):
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[y, x] = 255
    return pixels


class TestRetries:
    def test_none_where_hands_are_found_at_once(self):
        detector = Bright()
        (hand,) = find_hands(image_with(7, 9), detector)
        assert hand.landmarks[0].tolist() == [7, 9] and detector.shapes == [(300, 400)]

    @pytest.mark.parametrize(("margin", "views"), [(0.2, 2), (0.25, 3)])
    def test_with_padding(self, margin, views):
        detector = Bright(margin)
        (hand,) = find_hands(image_with(7, 9), detector)
        assert hand.landmarks[0].tolist() == [7, 9] and np.array_equal(hand.landmarks_3d, METRES)
        assert detector.shapes == [(300, 400), (500, 600), (700, 800)][:views]

    @pytest.mark.parametrize(("x", "y"), [(7, 9), (200, 150), (399, 299), (130, 200)])
    @pytest.mark.parametrize("size", [260, 180])
    def test_on_tiles(self, x, y, size):
        (hand,) = find_hands(image_with(x, y), Bright(size=size))
        assert hand.landmarks[0].tolist() == [x, y]

    def test_end(self):
        detector = Bright()
        assert find_hands(np.full((300, 400, 3), 40, np.uint8), detector) == []
        assert len(detector.shapes) == 3 + 4 + 9  # tiles of 104 pixels would be too small
        detector = Bright()
        assert find_hands(np.full((500, 500, 3), 40, np.uint8), detector) == []
        assert len(detector.shapes) == 3 + 4 + 9 + 25
        detector = Bright()
        assert find_hands(np.full((60, 40, 3), 40, np.uint8), detector) == [] and len(detector.shapes) == 3

    def test_margins_of_narrow_strips_are_no_larger_than_needed(self):
        detector = Bright()
        assert find_hands(np.zeros((30, 30000, 3), np.uint8), detector) == []
        assert all(height <= 5 * 30 and width <= 30000 + 4 * 30 for height, width in detector.shapes)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (900, 3)])
    def test_any_size_and_aspect(self, shape):
        pixels = np.full((*shape, 3), 40, np.uint8)
        assert find_hands(pixels, Bright()) == []
        pixels[-1, -1] = 255
        (hand,) = find_hands(pixels, Bright())
        assert hand.landmarks[0].tolist() == [shape[1] - 1, shape[0] - 1]


class ManyHands:
    """Sees those of many hands that are in a view, by colours that say where it is, if it is small enough."""

    HANDS = tuple((x, y) for x in range(40, 900, 110) for y in range(30, 600, 90))

    def __init__(self, size, misses_small_hands):
        self.size, self.misses_small_hands = size, misses_small_hands

    @staticmethod
    def image():
        y, x = np.mgrid[:600, :900]
        number = x + 1024 * y
        return np.stack([number % 256, number // 256 % 256, number // 65536], -1).astype(np.uint8)

    def __call__(self, view):
        height, width = view.shape[:2]
        corner = int(view[0, 0].astype(int) @ [1, 256, 65536])
        left, top = corner % 1024, corner // 1024
        if (left, top) == (0, 0) and (height, width) == (600, 900):
            return [DetectedHand("left", HAND + self.HANDS[0], 0.5)]
        if max(width, height) > self.size:
            return []
        offsets = [(x - left, y - top) for x, y in self.HANDS]
        return [DetectedHand("left", HAND + (x, y), 0.5) for x, y in offsets if -3 < x < width and -1 < y < height]


class TestManyHands:
    @pytest.mark.parametrize("size", [700, 450, 300])
    def test_are_all_found_once_by_a_detector_that_misses_small_ones(self, size):
        found = find_hands(ManyHands.image(), ManyHands(size, True))
        assert sorted(tuple(hand.landmarks[0].tolist()) for hand in found) == sorted(ManyHands.HANDS)

    def test_others_are_asked_once(self):
        assert len(find_hands(ManyHands.image(), ManyHands(700, False))) == 1


class TestHandsThatAreFound:
    def test_doubles_are_left_out(self):
        far = DetectedHand("right", HAND + 50, 0.2)
        hands = [DetectedHand("left", HAND, 0.4), DetectedHand("right", HAND + 0.3, 0.6), far]
        found = find_hands(image_with(0, 0), lambda image: hands)
        assert [(hand.side, hand.confidence) for hand in found] == [("right", 0.6), ("right", 0.2)]

    def test_of_several_people(self):
        hands = [DetectedHand("right", HAND + 60 * k) for k in range(4)]
        assert len(find_hands(image_with(0, 0), lambda image: hands)) == 4

    def test_one_that_is_not_valid_is_left_out(self):
        class Broken:
            side, landmarks = "left", HAND * np.nan

        good = DetectedHand("right", HAND)
        with pytest.warns(RuntimeWarning, match="hand 0 is left out: detector .* `landmarks` must be finite"):
            (found,) = find_hands(image_with(0, 0), lambda image: [Broken(), good])
        assert found.side == "right"

    def test_what_no_detector_returns_is_refused(self):
        with pytest.raises(TypeError, match="must return a list of `DetectedHand`s"):
            find_hands(image_with(0, 0), lambda image: None)
        with pytest.raises(TypeError, match="one of its hands is 5"):
            find_hands(image_with(0, 0), lambda image: [5])


class TestPhotographs:
    def test_of_any_kind(self, tmp_path):
        pixels = image_with(7, 9)
        exif = Image.Exif()
        exif[0x0112] = 6  # a phone that was held upright
        Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(tmp_path / "phone.png", exif=exif)
        Image.fromarray(pixels).convert("RGBA").save(tmp_path / "alpha.png")
        Image.fromarray(pixels).quantize().save(tmp_path / "palette.png")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "grey16.png")
        Image.fromarray(pixels).convert("CMYK").save(tmp_path / "print.tiff")
        Image.fromarray(pixels[..., 0].astype(np.float32) / 255).save(tmp_path / "float.tiff")
        files = sorted(tmp_path.iterdir())
        assert len(files) == 6
        for image in (*files, str(files[0]), pixels, Image.fromarray(pixels), Image.open(tmp_path / "phone.png")):
            (hand,) = find_hands(image, Bright())
            assert hand.landmarks[0].tolist() == [7, 9], image

    def test_that_cannot_be_read_are_refused_by_name(self, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        Image.fromarray(np.float32([[0, 255]])).save(tmp_path / "float.tiff")
        for name, reason in (("text.jpg", "cannot identify"), ("float.tiff", "float grey must lie in")):
            with pytest.raises(ValueError, match=f"cannot read image .*{name}: .*{reason}"):
                find_hands(tmp_path / name, Bright())
        with pytest.raises(FileNotFoundError, match="there is no image file 'absent.jpg'"):
            find_hands("absent.jpg", Bright())
        with pytest.raises(ValueError, match="cannot read the image: float grey"):
            find_hands(Image.open(tmp_path / "float.tiff"), Bright())
        with pytest.raises(TypeError, match="`image` must be a path, a PIL image or an array, got list"):
            find_hands([[0]], Bright())
        with pytest.raises(ValueError, match=r"`image` must have pixels, got shape \(0, 4, 3\)"):
            read_photograph(np.zeros((0, 4, 3), np.uint8))


def test_detectors_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_finder.py").write_text("def nothing(image):\n    return []\n")
    assert find_hands(image_with(0, 0), "my_finder:nothing") == []
    with pytest.raises(FileNotFoundError, match=r"`task`: there is no file 'absent.task'"):
        find_hands(image_with(0, 0), "absent.task")
    monkeypatch.setenv("HANDIFFUSER_HAND_LANDMARKER", "mine.task")
    with pytest.raises(FileNotFoundError, match=r"there is no file 'mine.task'"):
        find_hands(image_with(0, 0))


class TestRealPhotographs:
    def test_all_are_found(self, photos):
        expected = json.loads((photos / "expected.json").read_text())
        detector, views = open_detector(None), []

        def counting(image):
            views[-1] += 1
            return detector(image)

        for name, truth in expected.items():
            views.append(0)
            hands = find_hands(photos / name, counting)
            assert len(hands) == 1, name
            assert truth["side"] in (hands[0].side, None), name
        assert (views.count(1), views.count(2)) == (12, 4)  # at once, and with a margin


def test_what_is_no_detector_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="`detector` must be a callable or the name of one, got int"):
        find_hands(image_with(0, 0), 5)
    with pytest.raises(ValueError, match="^`detector` must be mediapipe, a .task file or MODULE:FUNCTION, got 'yolo'"):
        find_hands(image_with(0, 0), "yolo")
    monkeypatch.setenv("HANDIFFUSER_HAND_LANDMARKER", str(tmp_path / "absent.task"))
    with pytest.raises(FileNotFoundError, match="^HANDIFFUSER_HAND_LANDMARKER: there is no file"):
        find_hands(image_with(0, 0))


class TestMediaPipe:
    """Its own limits, on the photographs."""

    @pytest.mark.parametrize("shape", [(40, 33000), (33000, 40)])
    def test_sides_beyond_those_of_opencv(self, photos, shape):
        assert find_hands(np.full((*shape, 3), 90, np.uint8)) == []

    def test_threads_share_it(self, photos):
        names = sorted(json.loads((photos / "expected.json").read_text()))[:8]
        alone = [find_hands(photos / name)[0].landmarks for name in names]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda name: find_hands(photos / name)[0].landmarks, names * 3))
        assert all(np.array_equal(found, alone[i % len(names)]) for i, found in enumerate(together))

    def test_a_file_that_is_no_landmarker(self, photos, tmp_path):
        (tmp_path / "junk.task").write_text("junk")
        with pytest.raises(ValueError, match=r"`task`: cannot read '.*junk.task'"):
            find_hands(image_with(0, 0), tmp_path / "junk.task")
