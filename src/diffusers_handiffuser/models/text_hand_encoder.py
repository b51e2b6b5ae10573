"""The joint encoder: a caption and its hands become one sequence of cross-attention states.

    theta   f_theta: joint rotations of both hands                        -> 1 state
    M       f_M: meshes of both hands, as Basis Point Set distances       -> 1 state
    text+J  the CLIP text transformer over caption and 2D joint tokens    -> 77 + 86 states

concatenated in this order, as HanDiffuser (arXiv 2403.01693) draws them. The text transformer lives under
`text_model.` with CLIP's own names for every weight, so CLIP checkpoints, LoRA files and textual inversions made for
Stable Diffusion fit. The caption comes first and attention is causal, so its 77 states are CLIP's, whatever hands
follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import nn
from transformers.activations import ACT2FN

from ..hands.bps import ball_basis, basis_point_distances
from ..hands.geometry import HandGeometry
from ..hands.rotations import rotmat_to_rot6d
from ..hub.loading import CheckedLoadingMixin
from ..hub.loading_lock import one_at_a_time
from ..hub.saving import SavingMixin
from ..utils.typing import register_to_config
from .attention import Float32Buffers, additive_mask, causal_keep
from .clip_text_transformer import TextHandTransformer, clip_config_and_weights
from .hand_embeddings import (
    INIT_STD,
    NUM_HAND_STATES,
    NUM_JOINT_STATES,
    STATES_PER_HAND,
    HandFeatureMLP,
    JointEmbeddings,
)
from .stored_lora import StoredLoraMixin
from .text_encoder_mixin import TextEncoderMixin

HAND_REPRESENTATIONS = ("joints_2d", "rotations", "vertices")
"""Hand representations: J as 86 states, theta and M as one each."""


@dataclass
class TextHandEncoderOutput(BaseOutput):
    """What `TextHandEncoder` returns.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(B, L + 88, hidden_size)`, or `(B, L, hidden_size)` without hands):
            [theta, M, caption of L tokens, joints of the right hand, joints of the left hand].
        hidden_states (`tuple` of `torch.Tensor` of shape `(B, L + 86, hidden_size)`, or `(B, L, hidden_size)`):
            inside the text transformer, before its final LayerNorm: the embeddings and the output of every layer,
            caption first, then joints. `None` unless requested. States of a missing hand are meaningless here; see
            [`TextHandEncoder.skip_last_layers`].
    """

    last_hidden_state: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None = None


class TextHandEncoder(
    Float32Buffers,
    StoredLoraMixin,
    TextEncoderMixin,
    CheckedLoadingMixin,
    SavingMixin,
    ModelMixin,
    ConfigMixin,
    AttentionMixin,
    PeftAdapterMixin,
):
    """The Text+Hand encoder of HanDiffuser, which replaces Stable Diffusion's text encoder.

    Without hands it *is* CLIP's text encoder. With hands it returns 88 more states per caption; see the module's
    docstring for their order. Any number of visible hands is legal, in any mixture within a batch. The values of a
    hand that is not visible are not read (they may be NaN), the other hand does not attend to it, and its states are
    learned nulls, which depend neither on the caption nor on the other hand.

    Args:
        vocab_size (`int`, defaults to 49408): number of text tokens.
        hidden_size (`int`, defaults to 768): width of all states.
        intermediate_size (`int`, defaults to 3072): width inside the layers' MLPs.
        num_hidden_layers (`int`, defaults to 12): layers of the text transformer.
        num_attention_heads (`int`, defaults to 12): must divide `hidden_size`.
        max_position_embeddings (`int`, defaults to 77): longest caption.
        hidden_act (`str`, defaults to `"quick_gelu"`): as in CLIP's configuration.
        layer_norm_eps (`float`, defaults to 1e-5): of every LayerNorm.
        eos_token_id (`int`, defaults to 49407): end of a caption; kept from CLIP's configuration, not used here.
        num_position_bins (`int`, defaults to 1000): bins of a 2D coordinate. The paper does not state this.
        num_basis_points (`int`, defaults to 512): size of the Basis Point Set. The paper does not state how a mesh
            becomes an embedding; we use distances to fixed points.
        basis_radius (`float`, defaults to 0.2): metres; the basis points fill a ball of this radius around the wrist.
        basis_seed (`int`, defaults to 0): seed of the basis points, which are also saved with the weights.
        hand_hidden_size (`int`, defaults to 1024): width of the hidden layers of `f_theta` and `f_M`.
        hand_representations (`Sequence[str]`, defaults to all of `HAND_REPRESENTATIONS`): what the states are
            conditioned on. In a representation that is left out, all hands are missing: it is not read, and its
            states are learned nulls. All weights exist in any case, and the output keeps its shape.
        joint_encoding (`bool`, defaults to `True`): caption and joint tokens go through the text transformer together,
            as in the paper. `False` is plain concatenation: the joint tokens follow the caption's states and only go
            through the final LayerNorm.
        model_type (`str`, defaults to `"clip_text_model"`): transformers' name for this text transformer; tools that
            train or load LoRA look their target layers up by it.
        lora_adapters (`dict`, *optional*): LoRA adapters that the model was saved with, see [`StoredLoraMixin`].
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["TextHandEncoderLayer", "TextHandEmbeddings", "JointEmbeddings", "HandFeatureMLP"]
    _repeated_blocks = ["TextHandEncoderLayer"]
    _skip_layerwise_casting_patterns = ["embedding", "norm"]
    _keep_in_fp32_modules = ["basis_points"]

    @one_at_a_time
    @register_to_config
    def __init__(
        self,
        vocab_size: int = 49408,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        max_position_embeddings: int = 77,
        hidden_act: str = "quick_gelu",
        layer_norm_eps: float = 1e-5,
        eos_token_id: int = 49407,
        num_position_bins: int = 1000,
        num_basis_points: int = 512,
        basis_radius: float = 0.2,
        basis_seed: int = 0,
        hand_hidden_size: int = 1024,
        hand_representations: Sequence[str] = HAND_REPRESENTATIONS,
        joint_encoding: bool = True,
        model_type: str = "clip_text_model",
        lora_adapters: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        super().__init__()
        if hidden_act not in ACT2FN:
            raise ValueError(f"`hidden_act` must be an activation that transformers knows, got {hidden_act!r}.")
        if num_position_bins < 1:
            raise ValueError(f"`num_position_bins` must be at least 1, got {num_position_bins}.")
        if not hand_representations or not set(hand_representations) <= set(HAND_REPRESENTATIONS):
            raise ValueError(
                f"`hand_representations` must be one or more of {HAND_REPRESENTATIONS}, got {hand_representations!r}."
            )
        self.text_model = TextHandTransformer(
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            max_position_embeddings,
            hidden_act,
            layer_norm_eps,
        )
        self.joint_embeddings = JointEmbeddings(num_position_bins, hidden_size)
        self.rotation_mlp = HandFeatureMLP(16 * 6, hand_hidden_size, hidden_size, layer_norm_eps)
        self.mesh_mlp = HandFeatureMLP(num_basis_points, hand_hidden_size, hidden_size, layer_norm_eps)
        self.null_embedding = nn.Embedding(NUM_HAND_STATES, hidden_size)
        self.register_buffer("basis_points", ball_basis(num_basis_points, basis_radius, basis_seed))
        self.basis_radius = basis_radius
        self.num_basis_points = num_basis_points
        self.hand_representations = tuple(hand_representations)
        self.joint_encoding = joint_encoding
        self.gradient_checkpointing = False
        self._init_weights()
        self.restore_adapters(lora_adapters)

    def _init_weights(self) -> None:
        """CLIP's initialisation for CLIP's parts, small embeddings, and torch's defaults for the MLPs."""
        self.text_model.init_weights()
        self.joint_embeddings.init_weights()
        nn.init.normal_(self.null_embedding.weight, std=INIT_STD)

    @classmethod
    def from_clip(cls, clip_text_model: nn.Module, **hand_config: Any) -> "TextHandEncoder":
        """A joint encoder initialised from a CLIP text model.

        Every weight of the text transformer is copied, so the captions' states are CLIP's. New parts start close to
        them: the LayerNorms of `f_theta` and `f_M` as copies of CLIP's final one, and the nulls at its bias, the mean
        of CLIP's states.

        Args:
            clip_text_model (`transformers.CLIPTextModel` or `CLIPTextModelWithProjection`):
                of any transformers version, with or without the prefix `text_model.` on its weights. A projection is
                left out.
            hand_config:
                `num_position_bins`, `num_basis_points`, `basis_radius`, `basis_seed`, `hand_hidden_size`,
                `hand_representations`, `joint_encoding`.

        Returns:
            `TextHandEncoder`: with the dtype, device and training mode of `clip_text_model`.
        """
        config, weights = clip_config_and_weights(clip_text_model)
        encoder = cls(**config, **hand_config)
        wanted = {name for name in encoder.state_dict() if name.startswith("text_model.")}
        if wanted != set(weights):
            odd = sorted(wanted ^ set(weights))[0]
            raise ValueError(f"`clip_text_model` does not have the weights of a CLIP text model: {odd!r} differs.")
        encoder.load_state_dict(weights, strict=False)
        final = encoder.text_model.final_layer_norm
        with torch.no_grad():
            for mlp in (encoder.rotation_mlp, encoder.mesh_mlp):
                mlp.norm.load_state_dict(final.state_dict())
            encoder.null_embedding.weight.add_(final.bias)
        reference = next(clip_text_model.parameters())
        # Not diffusers' `to`, which warns that casting may round the basis points: they stay float32.
        nn.Module.to(encoder, device=reference.device, dtype=reference.dtype)
        return encoder.train(clip_text_model.training)

    @property
    def num_hand_states(self) -> int:
        """Number of states that hands add to a caption: 88."""
        return NUM_HAND_STATES

    def null_hand_states(self) -> torch.Tensor:
        """`(88, hidden_size)`: the learned nulls in the order of the output, [theta, M, joints]."""
        device = self.null_embedding.weight.device
        return self.null_embedding(torch.arange(NUM_HAND_STATES, device="cpu" if device.type == "meta" else device))

    def prepare_hands(self, geometry: HandGeometry, hand_visible: torch.Tensor) -> dict[str, torch.Tensor]:
        """The hand arguments of `forward` from what the body model returns.

        The mesh of each hand becomes the distances from the basis points to their nearest vertices, in the camera
        frame around the wrist, divided by the radius of the basis. Hands are not scaled to one size, and the left
        hand is not mirrored.

        Args:
            geometry (`HandGeometry`): of batch shape `(B,)`, in metres.
            hand_visible (`torch.Tensor` of shape `(B, 2)`, `bool`): [left, right].

        Returns:
            `dict` of `torch.Tensor`: `hand_rotations (B, 2, 16, 3, 3)`, `hand_bps (B, 2, num_basis_points)`, 0 for
            hands that are not visible, `hand_joints_2d (B, 2, 21, 2)` and `hand_visible (B, 2)`.
        """
        distances = []
        # Under offloading, the weights are on another device until `forward` is called.
        basis = self.basis_points.to(geometry.left_vertices.device, torch.float32)
        for side, vertices in enumerate((geometry.left_vertices, geometry.right_vertices)):
            shown = hand_visible[:, side].to(vertices.device)
            centred = (vertices - geometry.joints_3d[:, side, :1])[shown].float()
            distances.append(vertices.new_zeros(len(vertices), len(basis), dtype=torch.float32))
            distances[-1][shown] = basis_point_distances(centred, basis)
        return {
            "hand_rotations": geometry.rotations,
            "hand_bps": torch.stack(distances, -2) / self.basis_radius,
            "hand_joints_2d": geometry.joints_2d,
            "hand_visible": hand_visible,
        }

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        hand_rotations: torch.Tensor | None = None,
        hand_bps: torch.Tensor | None = None,
        hand_joints_2d: torch.Tensor | None = None,
        hand_visible: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> TextHandEncoderOutput | tuple:
        """Encodes captions, and hands if they are given: all hand arguments or none.

        Args:
            input_ids (`torch.Tensor` of shape `(B, L)`): the caption's tokens, `L` at most `max_position_embeddings`.
            attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): as in CLIP, 0 for caption tokens that are
                not attended to. Stable Diffusion 1.x passes none.
            hand_rotations (`torch.Tensor` of shape `(B, 2, 16, 3, 3)`, *optional*): per hand, [left, right], the wrist
                in the camera frame and 15 finger joints, rotation matrices.
            hand_bps (`torch.Tensor` of shape `(B, 2, num_basis_points)`, *optional*): see `prepare_hands`.
            hand_joints_2d (`torch.Tensor` of shape `(B, 2, 21, 2)`, *optional*): OpenPose order, [-1, 1] over the
                image's square.
            hand_visible (`torch.Tensor` of shape `(B, 2)`, `bool`, *optional*): [left, right].
            output_hidden_states (`bool`, defaults to `False`): also return the states between the layers.
            return_dict (`bool`, defaults to `True`): `TextHandEncoderOutput` or a plain tuple.

        Returns:
            `TextHandEncoderOutput` or `tuple`: `(B, L + 88, hidden_size)`, or `(B, L, hidden_size)` without hands.

        Raises:
            ValueError: a shape is wrong, or only some of the hand arguments are given.
        """
        self._check_shapes(input_ids, attention_mask, hand_rotations, hand_bps, hand_joints_2d, hand_visible)
        sequence = self.text_model.embeddings(input_ids)
        joint_tokens = None
        if hand_visible is not None:
            assert hand_joints_2d is not None
            hand_visible = hand_visible.bool()
            encoded = self._encoded_hands("joints_2d", hand_visible)
            joints = torch.where(encoded[..., None, None], hand_joints_2d, 0.0).flip(1)
            joint_tokens = self._missing_hand_last(self.joint_embeddings(joints).to(sequence.dtype), encoded)
            if self.joint_encoding:
                sequence = torch.cat([sequence, joint_tokens], 1)

        mask = None
        if attention_mask is not None:
            keep = F.pad(attention_mask.bool(), (0, sequence.shape[1] - input_ids.shape[1]), value=True)
            mask = additive_mask(keep[:, None, None] & causal_keep(sequence.shape[1], sequence.device))
        all_states = [sequence]
        for layer in self.text_model.encoder.layers:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                sequence = self._gradient_checkpointing_func(layer, sequence, mask, mask is None)
            else:
                sequence = layer(sequence, mask, mask is None)
            all_states.append(sequence)
        if joint_tokens is not None and not self.joint_encoding:
            all_states = [torch.cat([states, joint_tokens], 1) for states in all_states]
            sequence = all_states[-1]
        if hand_visible is not None:
            text, joints = sequence.split([input_ids.shape[1], NUM_JOINT_STATES], 1)
            sequence = torch.cat([text, self._missing_hand_last(joints, encoded)], 1)
        last = self.text_model.final_layer_norm(sequence)
        if hand_visible is not None:
            assert hand_rotations is not None and hand_bps is not None
            rotations = rotmat_to_rot6d(hand_rotations).flatten(2).to(sequence.dtype)
            theta = self.rotation_mlp(rotations, self._encoded_hands("rotations", hand_visible))
            mesh = self.mesh_mlp(hand_bps.to(sequence.dtype), self._encoded_hands("vertices", hand_visible))
            last = self._with_nulls(torch.stack([theta, mesh], 1), last, hand_visible)

        hidden_states = None
        if output_hidden_states:
            hidden_states = tuple(all_states)
            if hand_visible is not None:
                length = input_ids.shape[1]
                hidden_states = tuple(
                    torch.cat([h[:, :length], self._missing_hand_last(h[:, length:], encoded)], 1) for h in all_states
                )
        if not return_dict:
            return (last, hidden_states) if output_hidden_states else (last,)
        return TextHandEncoderOutput(last_hidden_state=last, hidden_states=hidden_states)

    def skip_last_layers(
        self, output: TextHandEncoderOutput, clip_skip: int, hand_visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Final states as if the text transformer had ended `clip_skip` layers earlier (diffusers' `clip_skip`).

        Theta, M and the nulls do not go through the transformer and are unchanged.

        Args:
            output (`TextHandEncoderOutput`): of a call with `output_hidden_states=True`.
            clip_skip (`int`): layers to skip, from 0 to all.
            hand_visible (`torch.Tensor` of shape `(B, 2)`, `bool`, *optional*): that of the call, if it had hands.

        Returns:
            `torch.Tensor`: of the shape of `output.last_hidden_state`.
        """
        if output.hidden_states is None:
            raise ValueError("`output` has no hidden states: call the encoder with `output_hidden_states=True`.")
        layers = len(output.hidden_states) - 1
        if not isinstance(clip_skip, int) or not 0 <= clip_skip <= layers:
            raise ValueError(f"`clip_skip` must be a whole number from 0 to {layers}, got {clip_skip!r}.")
        sequence = output.hidden_states[layers - clip_skip]
        has_hands = output.last_hidden_state.shape[1] != sequence.shape[1]
        if has_hands != (hand_visible is not None):
            wanted = "given" if has_hands else "None"
            raise ValueError(f"`hand_visible` must be {wanted}, as it was in the call that gave `output`.")
        last = self.text_model.final_layer_norm(sequence)
        if hand_visible is None:
            return last
        return self._with_nulls(output.last_hidden_state[:, :2], last, hand_visible.bool())

    def _encoded_hands(self, representation: str, hand_visible: torch.Tensor) -> torch.Tensor:
        """`(B, 2)` bool: hands that a representation encodes: the visible ones, or none if it is disabled."""
        return hand_visible if representation in self.hand_representations else torch.zeros_like(hand_visible)

    @staticmethod
    def _missing_hand_last(joints: torch.Tensor, hand_visible: torch.Tensor) -> torch.Tensor:
        """`(B, 86, D)` with the two hands swapped in rows where the right one is missing; its own inverse.

        Attention is causal and position embeddings are already added, so no other token sees the last hand. This hides
        a missing hand without a mask, which not every attention backend takes.
        """
        exchanged = joints.roll(STATES_PER_HAND, 1)
        return torch.where(hand_visible[:, 1, None, None], joints, exchanged)

    def _with_nulls(
        self, theta_mesh: torch.Tensor, sequence: torch.Tensor, hand_visible: torch.Tensor
    ) -> torch.Tensor:
        """[theta, M, caption, joints] with nulls in place of missing hands and disabled representations.

        `theta_mesh (B, 2, D)`, `sequence (B, L + 86, D)` caption and joints, `hand_visible (B, 2)` bool.
        """
        nulls = self.null_hand_states().to(sequence)
        text, joints = sequence.split([sequence.shape[1] - NUM_JOINT_STATES, NUM_JOINT_STATES], 1)
        encoded = torch.stack(
            [self._encoded_hands(name, hand_visible).any(1) for name in ("rotations", "vertices")], 1
        )
        theta_mesh = torch.where(encoded[..., None], theta_mesh, nulls[:2])
        visible_joints = self._encoded_hands("joints_2d", hand_visible).flip(1)
        visible_joints = visible_joints.repeat_interleave(STATES_PER_HAND, 1, output_size=NUM_JOINT_STATES)
        joints = torch.where(visible_joints[..., None], joints, nulls[2:])
        return torch.cat([theta_mesh, text, joints], 1)

    def _check_shapes(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        hand_rotations: torch.Tensor | None,
        hand_bps: torch.Tensor | None,
        hand_joints_2d: torch.Tensor | None,
        hand_visible: torch.Tensor | None,
    ) -> None:
        positions = self.text_model.embeddings.position_embedding.num_embeddings
        if input_ids.ndim != 2 or input_ids.shape[1] > positions:
            raise ValueError(
                f"`input_ids` must have shape (B, L), L at most {positions}, got {tuple(input_ids.shape)}."
            )
        batch, length = input_ids.shape
        if attention_mask is not None and tuple(attention_mask.shape) != (batch, length):
            raise ValueError(
                f"`attention_mask` must have shape ({batch}, {length}), got {tuple(attention_mask.shape)}."
            )
        shapes = {
            "hand_rotations": (hand_rotations, (batch, 2, 16, 3, 3)),
            "hand_bps": (hand_bps, (batch, 2, self.num_basis_points)),
            "hand_joints_2d": (hand_joints_2d, (batch, 2, 21, 2)),
            "hand_visible": (hand_visible, (batch, 2)),
        }
        given = [name for name, (value, _) in shapes.items() if value is not None]
        if given and len(given) < len(shapes):
            missing = next(name for name in shapes if name not in given)
            raise ValueError(
                f"`{missing}` is missing beside `{given[0]}`: hand arguments come together or not at all."
            )
        for name, (value, shape) in shapes.items():
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {tuple(value.shape)}.")
