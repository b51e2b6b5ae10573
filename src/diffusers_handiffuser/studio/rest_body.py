"""A body at rest that can be changed before it is posed: vertices, joints and faces added or left out."""

from dataclasses import dataclass

import torch

from ..hands import HandBodyModel, HandParams
from ..hands.body_arrays import dense_weights
from ..hands.kinematics import chain, pose_body
from ..hands.rotations import rotvec_to_rotmat
from ..hands.skeleton import JOINT_NAMES, PARENTS
from ..hands.skinning import blend_shapes, skin


@dataclass
class RestBody:
    """A body before it is posed.

    Args:
        vertices (`torch.Tensor` of shape `(V, 3)`): at rest, metres.
        weights (`torch.Tensor` of shape `(V, J)`): of the joints.
        joints (`torch.Tensor` of shape `(J, 3)`): at rest, metres.
        rotations (`torch.Tensor` of shape `(J, 3, 3)`): each relative to its parent.
        parents (`tuple` of `int`): of the joints, -1 for the pelvis.
        faces (`torch.LongTensor` of shape `(F, 3)`): those that are drawn.
        source_vertex (`torch.LongTensor` of shape `(V,)`): the body model's vertex that each is or is a copy of.
        source_face (`torch.LongTensor` of shape `(F,)`): likewise the body model's face; -1 for a face whose skin is
            that of the place where it is.
        body_model ([`HandBodyModel`]): the body model.
    """

    vertices: torch.Tensor
    weights: torch.Tensor
    joints: torch.Tensor
    rotations: torch.Tensor
    parents: tuple[int, ...]
    faces: torch.Tensor
    source_vertex: torch.Tensor
    source_face: torch.Tensor
    body_model: HandBodyModel

    @classmethod
    def of(
        cls, body_model: HandBodyModel, hand_params: HandParams | None, faces: torch.Tensor, source_face: torch.Tensor
    ) -> "RestBody":
        """A body of one person, of batch shape `()`; by default the mean body at rest."""
        device = body_model.device
        params = HandParams.zeros(device=device) if hand_params is None else hand_params.to(device)
        betas = params.betas[None]
        rotations = rotvec_to_rotmat(params.full_pose)
        return cls(
            vertices=blend_shapes(body_model.template, body_model.shape_directions, betas, None, rotations[None])[0],
            weights=dense_weights(body_model),
            joints=body_model.joint_template + (body_model.joint_shape_directions @ betas[0]),
            rotations=rotations,
            parents=PARENTS,
            faces=faces,
            source_vertex=torch.arange(body_model.config.num_vertices, device=device),
            source_face=source_face,
            body_model=body_model,
        )

    def posed(self) -> torch.Tensor:
        """The vertices `(V, 3)` in the camera frame, metres, pelvis at the origin."""
        rotations, joints = pose_body(self.joints[None], self.rotations[None], self.parents)
        return skin(self.vertices[None], self.weights, self.joints[None], rotations, joints)[0]

    def add(self, vertices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor) -> int:
        """Appends vertices; returns the index of the first."""
        first = len(self.vertices)
        self.vertices = torch.cat([self.vertices, vertices])
        self.weights = torch.cat([self.weights, weights])
        self.source_vertex = torch.cat([self.source_vertex, source])
        return first

    def append(self, faces: torch.Tensor, source: torch.Tensor | None = None) -> None:
        """Appends faces `(N, 3)`, copies of faces `(N,)` of the body model or new ones."""
        source = torch.full_like(faces[:, 0], -1) if source is None else source
        self.faces = torch.cat([self.faces, faces])
        self.source_face = torch.cat([self.source_face, source])


def hand_weight(body: RestBody, side: str) -> torch.Tensor:
    """How much each vertex `(V,)` follows the wrist or a finger of a side."""
    wrist = JOINT_NAMES.index(f"{side}_wrist")
    columns = [joint for joint in range(len(body.parents)) if wrist in chain(joint, body.parents)]
    return body.weights[:, columns].sum(1)
