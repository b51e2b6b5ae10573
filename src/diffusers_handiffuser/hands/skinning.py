"""The equations of SMPL that move vertices: blend shapes and linear blend skinning.

Numbered as in Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015. Linear blend skinning is older: Lewis
et al., "Pose Space Deformation", 2000, describe it as skeleton subspace deformation.
"""

import torch


def blend_shapes(
    template: torch.Tensor,
    shape_directions: torch.Tensor,
    betas: torch.Tensor,
    pose_directions: torch.Tensor | None,
    rotations: torch.Tensor,
) -> torch.Tensor:
    """The rest mesh of a shape, corrected for a pose: `T + B_S(betas) + B_P(pose)` (equation 6).

    Args:
        template (`torch.Tensor` of shape `(V, 3)`): the mean mesh, metres.
        shape_directions (`torch.Tensor` of shape `(V, 3, K)`): displacements per shape coefficient, metres.
        betas (`torch.Tensor` of shape `(B, K)`): shape coefficients.
        pose_directions (`torch.Tensor` of shape `(9 (J - 1), 3 V)`, *optional*): displacements per entry of a rotation
            matrix, metres; `None` if the body has none.
        rotations (`torch.Tensor` of shape `(B, J, 3, 3)`): of all joints, each relative to its parent.

    Returns:
        `torch.Tensor` of shape `(B, V, 3)`, metres.
    """
    vertices = template + (betas @ shape_directions.flatten(0, 1).T).unflatten(1, (-1, 3))
    if pose_directions is not None:
        bends = rotations[:, 1:] - torch.eye(3, device=rotations.device)
        vertices = vertices + (bends.flatten(1) @ pose_directions).unflatten(1, (-1, 3))
    return vertices


def skin(
    vertices: torch.Tensor,
    weights: torch.Tensor,
    rest_joints: torch.Tensor,
    joint_rotations: torch.Tensor,
    joints: torch.Tensor,
) -> torch.Tensor:
    """Each vertex follows the weighted mean of its joints' rigid motions (equations 2 and 3).

    Args:
        vertices (`torch.Tensor` of shape `(B, V, 3)`): of the rest pose, metres.
        weights (`torch.Tensor` of shape `(V, J)`): of the joints that move a vertex; they add up to one.
        rest_joints (`torch.Tensor` of shape `(B, J, 3)`): joints of the rest pose, metres.
        joint_rotations (`torch.Tensor` of shape `(B, J, 3, 3)`): into the camera frame, as from `pose_joints`.
        joints (`torch.Tensor` of shape `(B, J, 3)`): posed, metres.

    Returns:
        `torch.Tensor` of shape `(B, V, 3)`: metres, in the frame of `joints`.
    """
    shifts = joints - (joint_rotations @ rest_joints[..., None])[..., 0]
    transforms = torch.cat([joint_rotations, shifts[..., None]], dim=-1).flatten(2)
    blended = (weights @ transforms).unflatten(2, (3, 4))
    return (blended[..., :3] * vertices[..., None, :]).sum(-1) + blended[..., 3]
