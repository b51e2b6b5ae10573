import pytest
import torch
from scipy.spatial import cKDTree

from diffusers_handiffuser.hands.bps import ball_basis, basis_point_distances


def clouds(*shape, seed=0):
    return 0.1 * torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))


class TestBasis:
    def test_lies_in_the_ball_and_fills_it_evenly(self):
        radii = ball_basis(20_000, 0.2).norm(dim=-1)
        assert radii.max() <= 0.2 * (1 + 1e-6)
        # A uniform ball holds an eighth of its points within half its radius.
        assert (radii < 0.1).float().mean().item() == pytest.approx(1 / 8, abs=0.01)

    def test_has_no_preferred_direction(self):
        assert ball_basis(20_000, 1.0).mean(0).abs().max() < 0.02

    def test_scales_with_its_radius(self):
        assert torch.allclose(ball_basis(50, 0.4, seed=3), 2 * ball_basis(50, 0.2, seed=3))

    def test_same_seed_same_points(self):
        assert torch.equal(ball_basis(64, 0.2, seed=5), ball_basis(64, 0.2, seed=5))
        assert not torch.equal(ball_basis(64, 0.2, seed=5), ball_basis(64, 0.2, seed=6))

    def test_a_seed_means_these_points(self):
        """The defaults of the joint encoder: 512 points, 0.2 m, seed 0."""
        expected = torch.tensor([[-0.095796, -0.098053, -0.021321], [-0.004965, 0.013416, 0.131747]])
        assert torch.allclose(ball_basis(512, 0.2, seed=0)[[0, 511]], expected, atol=1e-5)

    def test_leaves_the_global_random_state_alone(self):
        before = torch.get_rng_state()
        ball_basis(10, 0.2)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(("num_points", "radius"), [(0, 0.2), (-1, 0.2), (4, 0.0), (4, -1.0), (4, float("nan"))])
    def test_refuses_empty_balls(self, num_points, radius):
        with pytest.raises(ValueError, match="`(num_points|radius)` must be"):
            ball_basis(num_points, radius)


class TestDistances:
    @pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 2, 40)])
    def test_agree_with_a_search_tree(self, shape):
        points, basis = clouds(*shape), ball_basis(60, 0.2)
        distances = basis_point_distances(points, basis)
        assert distances.shape == (*shape[:-1], 60)
        for cloud, found in zip(points.reshape(-1, 40, 3), distances.reshape(-1, 60), strict=True):
            expected, _ = cKDTree(cloud.double().numpy()).query(basis.double().numpy())
            assert torch.allclose(found.double(), torch.from_numpy(expected), atol=1e-7)

    def test_are_exact_to_a_micrometre_far_from_the_origin(self):
        """The matrix-multiplication shortcut fails this by far."""
        points, basis = clouds(1000) + 1.0, ball_basis(300, 0.2) + 1.0
        expected, _ = cKDTree(points.double().numpy()).query(basis.double().numpy())
        assert (basis_point_distances(points, basis).double() - torch.from_numpy(expected)).abs().max() < 1e-6

    def test_a_basis_point_on_the_cloud_has_none(self):
        basis = ball_basis(8, 0.2)
        assert torch.equal(basis_point_distances(basis, basis), torch.zeros(8))

    def test_do_not_depend_on_the_order_of_the_points(self):
        points, basis = clouds(50), ball_basis(20, 0.2)
        assert torch.equal(basis_point_distances(points, basis), basis_point_distances(points.flip(0), basis))

    def test_no_clouds_are_fine(self):
        assert basis_point_distances(torch.zeros(0, 5, 3), ball_basis(4, 0.2)).shape == (0, 4)
        assert basis_point_distances(torch.zeros(2, 0, 5, 3), ball_basis(4, 0.2)).shape == (2, 0, 4)

    def test_gradients_reach_the_nearest_points(self):
        points = clouds(20).requires_grad_()
        basis_point_distances(points, ball_basis(10, 0.2)).sum().backward()
        assert torch.isfinite(points.grad).all()
        assert (points.grad.norm(dim=-1) > 0).any()

    @pytest.mark.parametrize("shape", [(3,), (5, 2), (0, 3), (2, 0, 3)])
    def test_wrong_points_are_named(self, shape):
        with pytest.raises(ValueError, match=r"`points` must have shape \(\.\.\., V, 3\) with V > 0, got"):
            basis_point_distances(torch.zeros(shape), ball_basis(4, 0.2))

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 4, 3)])
    def test_wrong_basis_is_named(self, shape):
        with pytest.raises(ValueError, match=r"`basis` must have shape \(N, 3\), got"):
            basis_point_distances(clouds(5), torch.zeros(shape))
