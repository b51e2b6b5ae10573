import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusers_handiffuser.hands import ImageCrop, map_camera, map_points
from diffusers_handiffuser.hands.camera import project_weak_perspective, square_to_pixels


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestProjection:
    def test_formula_by_hand(self):
        points = torch.tensor([[0.1, -0.2, 5.0], [0.0, 0.0, -1.0]])
        projected = project_weak_perspective(points, torch.tensor([2.0, 0.3, 0.1]))
        assert torch.allclose(projected, torch.tensor([[0.8, -0.2], [0.6, 0.2]]))

    def test_agrees_with_a_loop(self):
        points, camera = random(4, 7, 3), random(4, 3, seed=1)
        projected = project_weak_perspective(points, camera)
        for b in range(4):
            s, tx, ty = camera[b].tolist()
            for n in range(7):
                x, y, _ = points[b, n].tolist()
                assert projected[b, n].tolist() == pytest.approx([s * (x + tx), s * (y + ty)], abs=1e-5)

    def test_depth_does_not_matter(self):
        points, camera = random(5, 3), random(3, seed=1)
        deeper = points * torch.tensor([1, 1, 9])
        assert torch.equal(project_weak_perspective(points, camera), project_weak_perspective(deeper, camera))

    @pytest.mark.parametrize("shape", [(), (0,), (2,), (2, 3)])
    def test_any_batch_shape(self, shape):
        points, camera = random(*shape, 21, 3), random(*shape, 3)
        assert project_weak_perspective(points, camera).shape == (*shape, 21, 2)

    def test_broadcasts_like_torch(self):
        assert project_weak_perspective(random(2, 1, 21, 3), random(5, 3)).shape == (2, 5, 21, 2)

    def test_gradients_reach_points_and_camera(self):
        points, camera = random(5, 3).double().requires_grad_(), random(3, seed=1).double().requires_grad_()
        assert torch.autograd.gradcheck(project_weak_perspective, (points, camera))

    @pytest.mark.parametrize("shape", [(3,), (5, 2), ()])
    def test_wrong_points_are_named(self, shape):
        with pytest.raises(ValueError, match=r"`points` must have shape \(\.\.\., N, 3\), got"):
            project_weak_perspective(torch.zeros(shape), torch.zeros(3))

    def test_wrong_camera_is_named(self):
        with pytest.raises(ValueError, match=r"`camera` must have shape \(\.\.\., 3\), got \(4,\)"):
            project_weak_perspective(torch.zeros(5, 3), torch.zeros(4))


class TestPixels:
    def test_of_a_square_picture(self):
        corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
        assert square_to_pixels(corners, 64, 64).tolist() == [[0, 0], [64, 64], [32, 32]]

    @pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40)])
    def test_of_other_pictures_span_the_centred_square_over_the_shorter_side(self, height, width):
        low, high = square_to_pixels(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), height, width)
        assert (high - low).tolist() == [40, 40]
        assert ((low + high) / 2).tolist() == [width / 2, height / 2]

    def test_keep_the_aspect(self):
        a, b = square_to_pixels(torch.tensor([[0.5, 0.0], [0.0, 0.5]]), 30, 80)
        assert (a - torch.tensor([40, 15])).tolist() == (b - torch.tensor([40, 15])).flip(0).tolist()

    def test_the_first_pixel_covers_zero_to_one(self):
        centre_of_first = torch.tensor([-1 + 1 / 64, -1 + 1 / 64])
        assert square_to_pixels(centre_of_first, 64, 64).tolist() == [0.5, 0.5]

    @pytest.mark.parametrize("shape", [(), (0,), (2, 21), (2, 2, 21)])
    def test_any_batch_shape(self, shape):
        assert square_to_pixels(torch.zeros(*shape, 2), 8, 8).shape == (*shape, 2)


def pixels_of(points, camera, width, height):
    """Where points of the camera frame are drawn in an image, in double precision."""
    return square_to_pixels(project_weak_perspective(points.double(), camera), height, width)


def draw_crop(pixels, crop):
    """Where pixels of an image lie in a crop of it, by the definition of a crop."""
    left, top, right, bottom = crop.box
    size = torch.tensor([crop.size[0] / (right - left), crop.size[1] / (bottom - top)], dtype=torch.float64)
    return (pixels - torch.tensor([left, top], dtype=torch.float64)) * size


SIDE = st.integers(8, 2000)
CORNER = st.floats(-500, 1500)


@st.composite
def crops(draw, stretched: bool):
    image_size = (draw(SIDE), draw(SIDE))
    left, top, width, height = draw(CORNER), draw(CORNER), draw(SIDE), draw(SIDE)
    zoom = draw(st.floats(0.1, 8))
    size = (draw(SIDE), draw(SIDE)) if stretched else (width * zoom, height * zoom)
    return ImageCrop(image_size, (left, top, left + width, top + height), size)


CAMERAS = st.tuples(st.floats(0.05, 20), st.floats(-3, 3), st.floats(-3, 3)).map(
    lambda numbers: torch.tensor(numbers, dtype=torch.float64)
)


class TestCropsOfAnImage:
    @settings(deadline=None)
    @given(crop=crops(stretched=False), camera=CAMERAS)
    def test_every_point_stays_on_its_pixel(self, crop, camera):
        points = random(20, 3)
        expected = draw_crop(pixels_of(points, camera, *crop.image_size), crop)
        found = pixels_of(points, map_camera(camera, crop), *crop.size)
        assert (found - expected).abs().max() < 1e-6 * (1 + expected.abs().max())

    @settings(deadline=None)
    @given(crop=crops(stretched=False), camera=CAMERAS)
    def test_and_back(self, crop, camera):
        again = map_camera(map_camera(camera, crop), crop.inverse())
        assert again.tolist() == pytest.approx(camera.tolist(), rel=1e-9, abs=1e-6)

    @settings(deadline=None)
    @given(crop=crops(stretched=True), camera=CAMERAS)
    def test_points_of_a_stretched_image(self, crop, camera):
        projected = project_weak_perspective(random(20, 3).double(), camera)
        expected = draw_crop(square_to_pixels(projected, *reversed(crop.image_size)), crop)
        mapped = map_points(projected, crop)
        found = square_to_pixels(mapped, *reversed(crop.size))
        assert (found - expected).abs().max() < 1e-6 * (1 + expected.abs().max())
        assert torch.allclose(map_points(mapped, crop.inverse()), projected, atol=1e-6)

    def test_by_hand(self):
        """A person 1.5 high in the middle of 300 x 200 pixels, cut out with 50 pixels of padding above."""
        crop = ImageCrop((300, 200), (50, -50, 250, 150), (400, 400))
        assert map_camera(torch.tensor([1.5, 0.0, 0.0]), crop).tolist() == pytest.approx([1.5, 0.0, 1 / 3])
        assert map_points(torch.tensor([[0.0, 0.0], [-1.0, 0.5]]), crop).tolist() == [[0.0, 0.5], [-1.0, 1.0]]

    @pytest.mark.parametrize("size", [(64, 64), (60, 33), (1023, 767)])
    def test_another_resolution_changes_nothing(self, size):
        """Bit for bit: the square is of the image, whatever its pixels."""
        crop = ImageCrop.resized(size, (3 * size[0], 3 * size[1]))
        camera, points = random(5, 3), random(5, 2, 21, 2)
        assert torch.equal(map_camera(camera, crop), camera) and torch.equal(map_points(points, crop), points)

    @pytest.mark.parametrize("size", [(64, 40), (40, 64), (40, 40)])
    def test_centred_square(self, size):
        crop = ImageCrop.centred_square(*size)
        assert crop.size == (40, 40) and torch.equal(map_camera(random(3), crop), random(3))

    def test_centred_square_of_an_odd_difference_is_half_a_pixel_off(self):
        crop = ImageCrop.centred_square(41, 20)
        assert crop.box == (10, 0, 30, 20)
        assert map_points(torch.zeros(2), crop).tolist() == pytest.approx([0.5 / 10, 0.0])

    def test_one_crop_per_row(self):
        several = [ImageCrop((30, 20), (0, 0, 10, 10), (8, 8)), ImageCrop((20, 30), (5, 5, 30, 30), (9, 9))]
        camera, points = random(2, 3), random(2, 2, 21, 2)
        for i, crop in enumerate(several):
            assert torch.equal(map_camera(camera, several)[i], map_camera(camera[i], crop))
            assert torch.equal(map_points(points, several)[i], map_points(points[i], crop))
        with pytest.raises(ValueError, match=r"`crop` must be one for all or one per row, of \(3, 3\), got 2"):
            map_camera(random(3, 3), several)

    def test_whole_pixels_are_no_stretch(self):
        """The size of a crop of 1000 x 667 pixels, 512 wide: 341.5 high, in truth 341."""
        crop = ImageCrop((1200, 800), (100, 50, 1100, 717), (512, 341))
        points, camera = 0.7 * random(50, 3), torch.tensor([1.0, 0.0, 0.0])
        expected = draw_crop(pixels_of(points, camera, 1200, 800), crop)
        inside = ((expected >= 0) & (expected <= torch.tensor([512, 341]))).all(-1)
        found = pixels_of(points, map_camera(camera, crop), 512, 341)
        assert inside.sum() > 10 and (found - expected)[inside].abs().max() < 0.5

    def test_a_stretched_image_has_no_camera(self):
        with pytest.raises(ValueError, match="`crop` must not stretch the image, .*`map_points` maps joints"):
            map_camera(random(3), ImageCrop.resized((300, 200), (256, 256)))

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            (((0, 20), (0, 0, 5, 5), (5, 5)), "image_size"),
            (((30, 20), (5, 0, 5, 5), (5, 5)), "box"),
            (((30, 20), (0, 0, 5, float("inf")), (5, 5)), "box"),
            (((30, 20), (0, 0, 5, 5), (5, float("nan"))), "size"),
        ],
    )
    def test_impossible_sizes_are_named(self, arguments, name):
        with pytest.raises(ValueError, match=f"`{name}` must have a positive width and height"):
            ImageCrop(*arguments)

    def test_gradients_reach_the_camera(self):
        crop = ImageCrop((30, 20), (3, 2, 14, 13), (64, 64))
        assert torch.autograd.gradcheck(lambda camera: map_camera(camera, crop), random(3).double().requires_grad_())
