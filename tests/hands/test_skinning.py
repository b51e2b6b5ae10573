"""Linear blend skinning, against the equations written out vertex by vertex."""

import torch

from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skinning import blend_shapes, skin


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rigid(rotation: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    matrix = torch.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return matrix


def test_vertices_follow_the_mean_of_their_joints_motions():
    vertices, rest_joints, joints = random(2, 5, 3), random(2, 3, 3, seed=1), random(2, 3, 3, seed=2)
    rotations = rotvec_to_rotmat(random(2, 3, 3, seed=3))
    weights = random(5, 3, seed=4).softmax(-1)
    skinned = skin(vertices, weights, rest_joints, rotations, joints)
    for row in range(2):
        for i in range(5):
            motion = sum(
                weights[i, k] * rigid(rotations[row, k], joints[row, k]) @ rigid(torch.eye(3), -rest_joints[row, k])
                for k in range(3)
            )
            expected = (motion @ torch.cat([vertices[row, i], torch.ones(1)]))[:3]
            assert torch.allclose(skinned[row, i], expected, atol=1e-5)


def test_shape_and_pose_move_the_rest_mesh():
    template, shape_directions, betas = random(4, 3), random(4, 3, 2, seed=1), random(2, 2, seed=2)
    pose_directions, rotations = random(18, 12, seed=3), rotvec_to_rotmat(random(2, 3, 3, seed=4))
    plain = blend_shapes(template, shape_directions, betas, None, rotations)
    bent = blend_shapes(template, shape_directions, betas, pose_directions, rotations)
    for row in range(2):
        expected = template + shape_directions[..., 0] * betas[row, 0] + shape_directions[..., 1] * betas[row, 1]
        assert torch.allclose(plain[row], expected, atol=1e-5)
        features = torch.cat([(rotations[row, joint] - torch.eye(3)).flatten() for joint in (1, 2)])
        expected = expected + sum(features[n] * pose_directions[n].unflatten(0, (4, 3)) for n in range(18))
        assert torch.allclose(bent[row], expected, atol=1e-5)
