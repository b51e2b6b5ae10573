"""Geometry of posed hands and bodies."""

from dataclasses import dataclass

import torch
from diffusers.utils import BaseOutput


@dataclass
class HandGeometry(BaseOutput):
    """Geometry of both hands: metres, camera frame, pelvis at the origin; an axis of two hands is [left, right].

    Args:
        rotations (`torch.Tensor` of shape `(..., 2, 16, 3, 3)`): the wrist's rotation into the camera frame, then the
            15 finger joints relative to their parents, in MANO's order.
        joints_3d (`torch.Tensor` of shape `(..., 2, 21, 3)`): OpenPose order; fingertips are smplx's vertices.
        joints_2d (`torch.Tensor` of shape `(..., 2, 21, 2)`): the same, projected by the camera: `[-1, 1]` over
            the image's square; joints outside the image are outside that range.
        left_vertices (`torch.Tensor` of shape `(..., V_l, 3)`): skin of the left hand.
        right_vertices (`torch.Tensor` of shape `(..., V_r, 3)`): skin of the right hand.
    """

    rotations: torch.Tensor
    joints_3d: torch.Tensor
    joints_2d: torch.Tensor
    left_vertices: torch.Tensor
    right_vertices: torch.Tensor


@dataclass
class BodyMesh(BaseOutput):
    """The whole body: metres, camera frame, pelvis at the origin.

    Args:
        vertices (`torch.Tensor` of shape `(..., V, 3)`): skin.
        joints (`torch.Tensor` of shape `(..., 52, 3)`): in the order of `skeleton.JOINT_NAMES`.
        faces (`torch.Tensor` of shape `(F, 3)`): vertex indices; `(b - a) x (c - a)` points outwards.
    """

    vertices: torch.Tensor
    joints: torch.Tensor
    faces: torch.Tensor
