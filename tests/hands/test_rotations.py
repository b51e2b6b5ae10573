import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from diffusers_handiffuser.hands.rotations import (
    rot6d_to_rotmat,
    rotmat_geodesic_distance,
    rotmat_to_rot6d,
    rotmat_to_rotvec,
    rotvec_to_rotmat,
)

DTYPES = (torch.float32, torch.float64)
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
BATCH_SHAPES = [(), (1,), (0,), (2, 3), (2, 0, 3)]


def unit_vectors(count: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=dtype), dim=-1)


def rotvecs(dtype=torch.float64) -> torch.Tensor:
    """Every angle worth trying, each about every sort of axis: `(N, 3)`."""
    axes = torch.cat([unit_vectors(40), torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    tiny = [0.0, 1e-30, 1e-12, 1e-7, 1e-4, 9.9e-4, 1.01e-3, 1e-2]
    near_half_turn = [math.pi - 1e-2, math.pi - 1e-4, math.pi - 1e-7, math.pi]
    angles = torch.tensor([*tiny, 0.5, 1.0, math.pi / 2, 2.0, 3.0, *near_half_turn], dtype=torch.float64)
    return (angles[:, None, None] * axes).flatten(0, 1).to(dtype)


class TestRotationMatrices:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_agree_with_scipy(self, dtype):
        vectors = rotvecs(dtype)
        expected = torch.from_numpy(Rotation.from_rotvec(vectors.double().numpy()).as_matrix())
        matrices = rotvec_to_rotmat(vectors)
        assert matrices.dtype == dtype
        assert (matrices.double() - expected).abs().max() < TOLERANCE[dtype]

    def test_a_quarter_turn_about_z_takes_x_to_y(self):
        turn = rotvec_to_rotmat(torch.tensor([0.0, 0.0, math.pi / 2]))
        assert torch.allclose(turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)

    def test_zero_is_exactly_the_identity(self):
        assert torch.equal(rotvec_to_rotmat(torch.zeros(4, 3)), torch.eye(3).expand(4, 3, 3))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_are_rotations(self, dtype):
        matrices = rotvec_to_rotmat(rotvecs(dtype))
        identity = torch.eye(3, dtype=dtype)
        assert torch.allclose(matrices @ matrices.mT, identity.expand_as(matrices), atol=TOLERANCE[dtype])
        assert torch.allclose(torch.linalg.det(matrices), torch.ones((), dtype=dtype), atol=TOLERANCE[dtype])

    def test_the_opposite_vector_is_the_inverse(self):
        vectors = rotvecs()
        assert torch.allclose(rotvec_to_rotmat(-vectors), rotvec_to_rotmat(vectors).mT, atol=1e-14)

    def test_turns_about_one_axis_add_up(self):
        axis = unit_vectors(20)
        composed = rotvec_to_rotmat(0.7 * axis) @ rotvec_to_rotmat(1.1 * axis)
        assert torch.allclose(composed, rotvec_to_rotmat(1.8 * axis), atol=1e-12)

    def test_a_full_turn_is_none(self):
        axis = unit_vectors(20)
        assert torch.allclose(rotvec_to_rotmat(2 * math.pi * axis), torch.eye(3).double().expand(20, 3, 3), atol=1e-12)


class TestRotationVectors:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_round_trip_from_matrices(self, dtype):
        matrices = rotvec_to_rotmat(rotvecs(dtype))
        again = rotvec_to_rotmat(rotmat_to_rotvec(matrices))
        assert (again - matrices).abs().max() < 2 * TOLERANCE[dtype]

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_round_trip_from_vectors_short_of_a_half_turn(self, dtype):
        vectors = rotvecs(dtype)
        vectors = vectors[vectors.norm(dim=-1) < 3.1]
        assert (rotmat_to_rotvec(rotvec_to_rotmat(vectors)) - vectors).abs().max() < 4 * TOLERANCE[dtype]

    def test_tiny_rotations_keep_their_relative_precision(self):
        vectors = 1e-8 * unit_vectors(50)
        error = rotmat_to_rotvec(rotvec_to_rotmat(vectors)) - vectors
        assert error.abs().max() < 1e-15

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_half_turn_keeps_its_axis_up_to_sign(self, dtype):
        axes = torch.cat([unit_vectors(50), torch.eye(3, dtype=torch.float64)]).to(dtype)
        half_turns = 2 * axes[:, :, None] * axes[:, None, :] - torch.eye(3, dtype=dtype)
        vectors = rotmat_to_rotvec(half_turns)
        assert torch.allclose(vectors.norm(dim=-1), torch.tensor(math.pi, dtype=dtype), atol=1e-5)
        along = (vectors * axes).sum(-1).abs() / math.pi
        assert torch.allclose(along, torch.ones((), dtype=dtype), atol=1e-6)

    def test_are_the_shortest_of_all(self):
        axis = unit_vectors(30)
        assert torch.allclose(rotmat_to_rotvec(rotvec_to_rotmat(4.0 * axis)), (4.0 - 2 * math.pi) * axis, atol=1e-12)
        longest = rotmat_to_rotvec(rotvec_to_rotmat(rotvecs() * 3)).norm(dim=-1).max()
        assert longest <= math.pi + 1e-12

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_agree_with_scipy(self, dtype):
        matrices = torch.from_numpy(Rotation.random(200, random_state=0).as_matrix()).to(dtype)
        expected = torch.from_numpy(Rotation.from_matrix(matrices.double().numpy()).as_rotvec())
        vectors = rotmat_to_rotvec(matrices)
        assert vectors.dtype == dtype
        assert (vectors.double() - expected).abs().max() < 100 * TOLERANCE[dtype]

    def test_the_identity_is_exactly_zero(self):
        assert torch.equal(rotmat_to_rotvec(torch.eye(3)), torch.zeros(3))


class TestSixNumbers:
    def test_are_the_first_two_columns(self):
        quarter_turn_about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        assert rotmat_to_rot6d(quarter_turn_about_z).tolist() == [0, 1, 0, -1, 0, 0]
        numbered = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
        assert rotmat_to_rot6d(numbered).tolist() == [1, 4, 7, 2, 5, 8]

    def test_are_read_as_columns(self):
        matrix = rot6d_to_rotmat(torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0]))
        assert torch.equal(matrix @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_round_trip(self, dtype):
        matrices = rotvec_to_rotmat(rotvecs(dtype))
        again = rot6d_to_rotmat(rotmat_to_rot6d(matrices))
        assert again.dtype == dtype
        assert (again - matrices).abs().max() < TOLERANCE[dtype]

    def test_any_six_numbers_give_a_rotation(self):
        six = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        matrices = rot6d_to_rotmat(six)
        assert torch.allclose(matrices @ matrices.mT, torch.eye(3).double().expand(500, 3, 3), atol=1e-10)
        assert torch.allclose(torch.linalg.det(matrices), torch.ones(500).double(), atol=1e-10)

    def test_length_of_either_column_and_the_share_of_the_first_in_the_second_do_not_matter(self):
        six = torch.randn(50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        first, second = six.split(3, -1)
        other = torch.cat([5 * first, 0.1 * second + 2 * first], -1)
        assert torch.allclose(rot6d_to_rotmat(other), rot6d_to_rotmat(six), atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-7, 7), min_size=3, max_size=3))
def test_any_vector_survives_the_whole_circle(vector):
    matrix = rotvec_to_rotmat(torch.tensor(vector, dtype=torch.float64))
    again = rot6d_to_rotmat(rotmat_to_rot6d(rotvec_to_rotmat(rotmat_to_rotvec(matrix))))
    assert torch.allclose(again, matrix, atol=1e-9)


class TestGradients:
    @pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-6, 1e-3, 1.0, 3.0])
    def test_of_matrices_are_finite(self, angle):
        vector = (angle * unit_vectors(5, torch.float32)).requires_grad_()
        rotvec_to_rotmat(vector).square().sum().backward()
        assert torch.isfinite(vector.grad).all()

    def test_at_zero_are_those_of_the_cross_matrix(self):
        jacobian = torch.autograd.functional.jacobian(rotvec_to_rotmat, torch.zeros(3, dtype=torch.float64))
        about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
        assert torch.equal(jacobian[..., 2], about_z)

    @pytest.mark.parametrize("angle", [1e-5, 2e-3, 1.0, 3.0])
    def test_of_matrices_agree_with_finite_differences(self, angle):
        vector = (angle * unit_vectors(3)).requires_grad_()
        assert torch.autograd.gradcheck(rotvec_to_rotmat, vector)

    @pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-3, 1.0, 3.0, math.pi])
    def test_of_vectors_are_finite(self, angle):
        matrix = rotvec_to_rotmat(angle * unit_vectors(5, torch.float32)).requires_grad_()
        rotmat_to_rotvec(matrix).sum().backward()
        assert torch.isfinite(matrix.grad).all()

    def test_there_and_back_again_is_one_even_at_zero(self):
        for vector in (torch.zeros(3, dtype=torch.float64), unit_vectors(1)[0]):
            jacobian = torch.autograd.functional.jacobian(lambda v: rotmat_to_rotvec(rotvec_to_rotmat(v)), vector)
            assert torch.allclose(jacobian, torch.eye(3).double(), atol=1e-10)


@pytest.mark.parametrize("shape", BATCH_SHAPES)
def test_any_batch_shape(shape):
    vectors = 0.3 * torch.ones(*shape, 3)
    matrices = rotvec_to_rotmat(vectors)
    assert matrices.shape == (*shape, 3, 3)
    assert rotmat_to_rotvec(matrices).shape == (*shape, 3)
    assert rotmat_to_rot6d(matrices).shape == (*shape, 6)
    assert rot6d_to_rotmat(rotmat_to_rot6d(matrices)).shape == (*shape, 3, 3)


@pytest.mark.parametrize(
    ("function", "name", "shape"),
    [
        (rotvec_to_rotmat, "rotvec", (2, 4)),
        (rotmat_to_rotvec, "rotmat", (3, 2)),
        (rotmat_to_rotvec, "rotmat", (3,)),
        (rotmat_to_rot6d, "rotmat", (4, 9)),
        (rot6d_to_rotmat, "rot6d", (2, 3)),
    ],
)
def test_wrong_shapes_are_named(function, name, shape):
    with pytest.raises(ValueError, match=f"`{name}` must have shape.*got"):
        function(torch.zeros(shape))


class TestGeodesicDistance:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_agrees_with_scipy(self, dtype):
        vectors = rotvecs(dtype)
        others = vectors.roll(7, 0)
        first, second = (Rotation.from_rotvec(v.double().numpy()) for v in (vectors, others))
        expected = torch.from_numpy((first.inv() * second).magnitude())
        found = rotmat_geodesic_distance(rotvec_to_rotmat(vectors), rotvec_to_rotmat(others))
        assert found.dtype == dtype
        # Half turns apart, an error of the chord is its square root in the angle.
        assert (found.double() - expected).abs().max() < 3 * TOLERANCE[dtype] ** 0.5
        less = expected < 3
        assert (found.double() - expected)[less].abs().max() < 20 * TOLERANCE[dtype]

    def test_of_identical_float32_rotations_is_zero(self):
        rotations = rotvec_to_rotmat(rotvecs(torch.float32))
        assert torch.equal(rotmat_geodesic_distance(rotations, rotations), torch.zeros(len(rotations)))

    def test_small_angles_are_exact_in_float32(self):
        turns = rotvec_to_rotmat(torch.tensor([[1e-3, 0.0, 0.0], [0.0, 1e-4, 0.0]]))
        assert rotmat_geodesic_distance(turns, torch.eye(3)).tolist() == pytest.approx([1e-3, 1e-4], rel=1e-3)

    def test_leading_shapes_broadcast(self):
        rotations = rotvec_to_rotmat(rotvecs()[:6])
        assert rotmat_geodesic_distance(rotations[:, None], rotations).shape == (6, 6)
        with pytest.raises(ValueError, match=r"`second` must have shape \(..., 3, 3\)"):
            rotmat_geodesic_distance(rotations, rotations[..., 0])

    def test_gradient_at_zero_is_finite(self):
        vector = torch.zeros(1, 3, requires_grad=True)
        rotmat_geodesic_distance(rotvec_to_rotmat(vector), torch.eye(3)).sum().backward()
        assert torch.isfinite(vector.grad).all()
