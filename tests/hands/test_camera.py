import pytest
import torch

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
