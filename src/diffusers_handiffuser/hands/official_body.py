"""Whole bodies from official SMPL-H files, posed by `smplx`: the one place that imports it.

`smplx` carries the non-commercial licence of the official files. No other body needs it (`skinning`).
"""

import contextlib
import io
from typing import TYPE_CHECKING, Any

import torch

from .body_arrays import NUM_BETAS, smplh_arrays
from .params import HandParams
from .skeleton import NUM_JOINTS, OPENPOSE_FINGERS

if TYPE_CHECKING:
    from .body_model import HandBodyModel


def smplx_model(body_model: "HandBodyModel") -> Any:
    """The `smplx.SMPLH` of a body, on the same device."""
    try:
        import smplx
        from smplx.utils import Struct
    except ImportError as error:
        raise ImportError("`full_mesh` of a licensed body needs smplx: pip install smplx") from error
    tips = zip(
        (side + finger for side in "lr" for finger in OPENPOSE_FINGERS),
        (*body_model.config.left_fingertips, *body_model.config.right_fingertips),
        strict=True,
    )
    face = dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0)
    # smplx prints a notice about ten shape coefficients.
    with contextlib.redirect_stdout(io.StringIO()):
        model = smplx.SMPLH(
            "",
            data_struct=Struct(**smplh_arrays(body_model)),
            vertex_ids={**face, **dict(tips)},
            use_feet_keypoints=False,
            use_pca=False,
            flat_hand_mean=True,
            num_betas=NUM_BETAS,
            create_betas=False,
            create_global_orient=False,
            create_body_pose=False,
            create_left_hand_pose=False,
            create_right_hand_pose=False,
            create_transl=False,
        )
    return model.to(body_model.template.device)


def pose_by_smplx(model: Any, rows: HandParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices `(B, V, 3)` and joints `(B, 52, 3)`: metres, camera frame, pelvis at the origin.

    Args:
        model (`smplx.SMPLH`): see `smplx_model`.
        rows (`HandParams` of batch shape `(B,)`): at least one.
    """
    posed = model(
        betas=rows.betas,
        global_orient=rows.global_orient,
        body_pose=rows.body_pose,
        left_hand_pose=rows.left_hand_pose,
        right_hand_pose=rows.right_hand_pose,
    )
    pelvis = posed.joints[:, :1]
    return posed.vertices - pelvis, posed.joints[:, :NUM_JOINTS] - pelvis
