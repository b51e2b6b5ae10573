"""`HandParams`: the data type that carries hands from text to image."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..utils.atomic_files import atomic_write
from ..utils.messages import reason_of
from ..utils.other_imports import refuse_other_import
from ..utils.suggestions import did_you_mean
from .skeleton import MIRRORED_JOINTS, NUM_JOINTS

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..rendering.viewer import HandView
    from .body_model import HandBodyModel

_ROWS_IN_REPR = 8
_FORMAT = "diffusers_handiffuser.HandParams"
_VERSION = 1
_MAX_JSON_BYTES = 2**28
"""Python's numbers take many times the memory of their digits."""


@dataclass(frozen=True, eq=False)
class HandParams:
    """SMPL-H pose, shape, camera and hand visibility of one person, over any leading batch shape.

    The first five names and their axis-angle convention are those of `smplx.SMPLH.forward`, so
    `smplx.SMPLH(..., use_pca=False, flat_hand_mean=True)(**...)` takes them directly. Hand poses are absolute: the
    zero pose is the flat hand. The camera frame has x to the right, y down and z forward; `global_orient` maps the
    body into it and the pelvis is its origin (there is no `transl`: `camera` places the person in the image).

    Args:
        global_orient (`torch.Tensor` of shape `(..., 3)`): axis-angle, radians.
        body_pose (`torch.Tensor` of shape `(..., 63)`): 21 body joints, axis-angle, radians.
        left_hand_pose (`torch.Tensor` of shape `(..., 45)`): 15 joints in MANO's order, axis-angle, radians.
        right_hand_pose (`torch.Tensor` of shape `(..., 45)`): the same for the right hand.
        betas (`torch.Tensor` of shape `(..., 10)`): shape coefficients.
        camera (`torch.Tensor` of shape `(..., 3)`): `(s, tx, ty)`: `u = s (x + tx)`, `v = s (y + ty)`, both in
            `[-1, 1]` over the image's square; `s` is positive and per metre, `tx` and `ty` are metres.
        hand_visible (`torch.Tensor` of shape `(..., 2)`, `bool`): [left, right].

    Floating-point input is stored as float32. Wrong shapes, non-finite numbers or a camera whose scale is not positive
    raise a `ValueError` that names the field, wrong types a `TypeError`.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandParams

        >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
        >>> hands = pipe.sample_hand_params("a right hand making a peace sign", num_images_per_prompt=4)
        >>> hands.show().save("hands.png")
        >>> hands[:2].save("hands.safetensors")
        >>> both = HandParams.cat([HandParams.load("hands.safetensors"), hands[2:].mirror()])
        >>> openpose = both.to_condition("openpose", 512)[0]
        ```
    """

    global_orient: torch.Tensor
    body_pose: torch.Tensor
    left_hand_pose: torch.Tensor
    right_hand_pose: torch.Tensor
    betas: torch.Tensor
    camera: torch.Tensor
    hand_visible: torch.Tensor

    FIELDS: ClassVar[dict[str, int]] = {
        "global_orient": 3,
        "body_pose": 63,
        "left_hand_pose": 45,
        "right_hand_pose": 45,
        "betas": 10,
        "camera": 3,
        "hand_visible": 2,
    }

    def __post_init__(self) -> None:
        shape = None
        for name, size in self.FIELDS.items():
            value = getattr(self, name)
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"`{name}` must be a torch.Tensor, got {type(value).__name__}.")
            if value.shape[-1:] != (size,):
                raise ValueError(f"`{name}` must have shape (..., {size}), got {tuple(value.shape)}.")
            if name == "hand_visible":
                if value.dtype != torch.bool:
                    raise TypeError(f"`hand_visible` must be a bool tensor, got {value.dtype}.")
            elif not value.is_floating_point():
                raise TypeError(f"`{name}` must be a floating-point tensor, got {value.dtype}.")
            else:
                value = value.float()
                object.__setattr__(self, name, value)
                if not torch.isfinite(value).all():
                    raise ValueError(f"`{name}` holds numbers that are not finite.")
            if shape is None:
                shape = value.shape[:-1]
            elif value.shape[:-1] != shape:
                raise ValueError(
                    f"`{name}` has leading shape {tuple(value.shape[:-1])}, but `global_orient` has {tuple(shape)}."
                )
            if value.device != self.global_orient.device:
                raise ValueError(
                    f"`{name}` is on {value.device}, but `global_orient` is on {self.global_orient.device}."
                )
        if not (self.camera[..., 0] > 0).all():
            raise ValueError("`camera` must have a positive scale in its first number.")

    @classmethod
    def zeros(cls, *batch_shape: int, device: torch.device | str | None = None) -> "HandParams":
        """T-pose, camera `(1, 0, 0)`, no hand visible."""
        values = {
            name: torch.zeros(*batch_shape, size, device=device, dtype=torch.bool if name == "hand_visible" else None)
            for name, size in cls.FIELDS.items()
        }
        values["camera"][..., 0] = 1.0
        return cls(**values)

    @classmethod
    def from_full_pose(
        cls, full_pose: torch.Tensor, betas: torch.Tensor, camera: torch.Tensor, hand_visible: torch.Tensor
    ) -> "HandParams":
        """From the pose of all 52 joints, `(..., 52, 3)` axis-angle: the inverse of `full_pose`."""
        if full_pose.shape[-2:] != (NUM_JOINTS, 3):
            raise ValueError(f"`full_pose` must have shape (..., 52, 3), got {tuple(full_pose.shape)}.")
        orient, body, left, right = full_pose.flatten(-2).split([3, 63, 45, 45], -1)
        return cls(orient, body, left, right, betas, camera, hand_visible)

    @classmethod
    def cat(cls, parts: Sequence["HandParams"], dim: int = 0) -> "HandParams":
        """Concatenates along a batch dimension; the others must agree."""
        parts = [] if (alone := isinstance(parts, HandParams)) else list(parts)
        if alone or not all(isinstance(part, HandParams) for part in parts):
            raise TypeError("`HandParams.cat` takes a list of HandParams.")
        if not parts:
            raise ValueError("`parts` must hold at least one HandParams.")
        shapes = [tuple(part.batch_shape) for part in parts]
        if not 0 <= dim < len(shapes[0]):
            raise ValueError(f"`dim` must be a batch dimension of {shapes[0]}, got {dim}.")
        for shape in shapes:
            if (
                len(shape) != len(shapes[0])
                or shape[:dim] + shape[dim + 1 :] != shapes[0][:dim] + shapes[0][dim + 1 :]
            ):
                raise ValueError(f"`parts` must have the same batch shape but for `dim`, got {shapes[0]} and {shape}.")
        return cls(**{name: torch.cat([getattr(part, name) for part in parts], dim) for name in cls.FIELDS})

    @property
    def batch_shape(self) -> torch.Size:
        """The leading shape that all fields share."""
        return self.global_orient.shape[:-1]

    @property
    def device(self) -> torch.device:
        """The device of all fields."""
        return self.global_orient.device

    @property
    def full_pose(self) -> torch.Tensor:
        """`(..., 52, 3)`: axis-angle of every joint, in the order of `JOINT_NAMES`."""
        pose = torch.cat([self.global_orient, self.body_pose, self.left_hand_pose, self.right_hand_pose], -1)
        return pose.unflatten(-1, (NUM_JOINTS, 3))

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError("HandParams of a single person (no batch dimension) has no len().")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator["HandParams"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "HandParams":
        """Indexes the batch dimensions: an integer, a slice, a mask or a tuple of them."""
        index = index if isinstance(index, tuple) else (index,)
        if not self.batch_shape:
            raise IndexError("HandParams of a single person (no batch dimension) cannot be indexed.")
        if not any(part is Ellipsis for part in index):
            index = (*index, Ellipsis)
        return self._map(lambda value: value[(*index, slice(None))])

    def __repr__(self) -> str:
        words = {(True, True): "both", (True, False): "left", (False, True): "right", (False, False): "none"}
        rows = [words[tuple(row)] for row in self.hand_visible.reshape(-1, 2)[:_ROWS_IN_REPR].tolist()]
        rows += ["..."] if self.hand_visible.numel() > 2 * _ROWS_IN_REPR else []
        visible = f"[{', '.join(rows)}]" if self.batch_shape else rows[0]
        return f"HandParams(batch_shape={tuple(self.batch_shape)}, visible={visible}, device='{self.device}')"

    def _repr_html_(self) -> str:
        return _rendering().preview_html(self)

    def replace(self, **changes: torch.Tensor) -> "HandParams":
        """A copy with some fields replaced; new values are checked as usual."""
        unknown = sorted(set(changes) - set(self.FIELDS))
        if unknown:
            hint = did_you_mean(unknown[0], self.FIELDS)
            hint = f"; its fields are {', '.join(self.FIELDS)}." if hint == "." else hint
            raise TypeError(f"HandParams has no field {unknown[0]!r}{hint}")
        return HandParams(**{name: changes.get(name, getattr(self, name)) for name in self.FIELDS})

    def to(self, device: torch.device | str | int) -> "HandParams":
        """Moves to a device. Numbers stay float32: half precision would move fingertips by millimetres."""
        if isinstance(device, torch.dtype):
            raise TypeError(f"HandParams are float32 always; `to` takes a device, got {device}.")
        return self._map(lambda value: value.to(device))

    def reshape(self, *batch_shape: int) -> "HandParams":
        """The same rows in another batch shape."""
        return self._map(lambda value: value.reshape(*batch_shape, value.shape[-1]))

    def repeat_interleave(self, repeats: int, dim: int = 0) -> "HandParams":
        """Repeats every row, copies next to each other, as diffusers orders `num_images_per_prompt`."""
        if not 0 <= dim < len(self.batch_shape):
            raise ValueError(f"`dim` must be a batch dimension of {tuple(self.batch_shape)}, got {dim}.")
        return self._map(lambda value: value.repeat_interleave(repeats, dim))

    def mirror(self) -> "HandParams":
        """The mirrored person: left and right are swapped, and the image is flipped horizontally."""
        pose = self.full_pose[..., MIRRORED_JOINTS, :]
        pose = pose * pose.new_tensor([1.0, -1.0, -1.0])
        camera = self.camera * self.camera.new_tensor([1.0, -1.0, 1.0])
        return HandParams.from_full_pose(pose, self.betas, camera, self.hand_visible.flip(-1))

    def to_condition(
        self,
        kind: str,
        size: int | tuple[int, int],
        body_model: "HandBodyModel | None" = None,
        *,
        style: str = "dwpose",
        parts: Sequence[str] | None = None,
        people: bool = False,
    ) -> "Image | list[Image]":
        """The visible hands as an image for public ControlNets and T2I-Adapters, see `rendering.conditions`.

        Args:
            kind (`str`): `"openpose"` (skeleton on black), `"depth"` (near is white), `"depth_hand"` (each hand for
                itself, for HandRefiner's ControlNet), `"normal"` (red to the left, green upwards, blue to the viewer)
                or `"mask"` (white hands).
            size (`int` or `tuple[int, int]`): side of a square image, or `(width, height)`, pixels.
            body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; else the procedural one.
            style (`str`): how a skeleton is drawn: `"dwpose"` in the fixed pixels of controlnet_aux, DWPose and most
                public code, `"xinsir"` with the thicker limbs of xinsir's SDXL ControlNets, or `"scaled"` as at 512
                pixels, in proportion to the image.
            parts (sequence of `str`, *optional*): what is shown: of a skeleton some of `"body"`, `"hands"` and
                `"face"`, by default all; of depth, normals and masks some of `"hands"`, `"forearms"` and `"body"`, by
                default the hands.
            people (`bool`): draws all rows of the last batch axis into one image.

        Returns:
            `PIL.Image.Image`, RGB or for a mask "L"; with a batch dimension (besides that of `people`) a list, one per
            row.
        """
        return _rendering().draw_condition(self, kind, size, body_model, style=style, parts=parts, people=people)

    def show(self, size: int = 256, body_model: "HandBodyModel | None" = None, max_rows: int = 16) -> "Image":
        """The visible hands as shaded meshes, one square tile per row, four tiles per line; displayed in a notebook.

        Args:
            size (`int`): of a tile, pixels.
            body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; else the procedural one.
            max_rows (`int`): further rows are left out.
        """
        return _rendering().draw_rows(self, size, body_model, max_rows)

    def to_glb(self, path: str | os.PathLike | None = None, body_model: "HandBodyModel | None" = None) -> bytes:
        """The visible hands of one row as binary glTF, metres, y up; also written to `path` if it is given.

        Each hand is watertight, closed at the wrist, and has normals.
        """
        return _rendering().hands_glb(self, path, body_model)

    def view_3d(self, body_model: "HandBodyModel | None" = None) -> "HandView":
        """The visible hands of one row, to rotate with the mouse, in a notebook or by `.save("hands.html")`.

        The page holds the mesh and its viewer and fetches nothing.
        """
        return _rendering().HandView(self.to_glb(body_model=body_model))

    def to_dict(self) -> dict[str, list]:
        """Nested lists under the field names, as in a dataset row."""
        return {name: getattr(self, name).tolist() for name in self.FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HandParams":
        """The inverse of `to_dict`; other keys are ignored, missing ones are an error.

        `"1.0"` and `True` are not accepted as numbers.
        """
        missing = [name for name in cls.FIELDS if name not in values]
        if missing:
            raise ValueError(f"Hand parameters lack the field {missing[0]!r}.")
        tensors = {}
        for name, size in cls.FIELDS.items():
            flags = name == "hand_visible"
            try:
                value = torch.as_tensor(values[name], dtype=None if flags else torch.float32)
            except (TypeError, ValueError, RuntimeError, OverflowError) as error:
                kind = "true and false" if flags else "numbers"
                raise ValueError(f"`{name}` is not a list of {kind}: {reason_of(error)}.") from None
            if not flags and _holds_booleans(values[name]):
                raise ValueError(f"`{name}` is not a list of numbers: it holds true or false.")
            if value.numel() == 0 and value.shape[-1:] != (size,):
                # Lists of no rows have lost the length of a row.
                value = value.reshape(*value.shape, size).to(torch.bool if flags else torch.float32)
            if flags and value.dtype != torch.bool:
                raise ValueError(f"`{name}` is not a list of true and false, but of {value.dtype} numbers.")
            tensors[name] = value
        return cls(**tensors)

    def save(self, path: str | os.PathLike) -> None:
        """Writes `.safetensors` or `.json`, atomically."""
        path = Path(path)
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import save

            # Copies: safetensors refuses fields that share memory (both hands may have the same pose).
            tensors = {name: getattr(self, name).detach().cpu().contiguous().clone() for name in self.FIELDS}
            # One entry: safetensors writes several in random order.
            content = save(tensors, metadata={"format": f"{_FORMAT}/{_VERSION}"})
        elif path.suffix.lower() == ".json":
            content = json.dumps({"format": _FORMAT, "version": _VERSION, **self.to_dict()}).encode()
        else:
            raise ValueError(f"`path` must end in .safetensors or .json, got {path.name!r}.")
        if path.suffix.lower() == ".json" and len(content) > _MAX_JSON_BYTES:
            raise ValueError(
                f"{path.name!r} would have {len(content)} bytes, too many for JSON; save as .safetensors."
            )
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | os.PathLike, device: torch.device | str = "cpu") -> "HandParams":
        """Reads what `save` wrote.

        A foreign, damaged or newer file raises a `ValueError` that names it, and so does JSON of more than 256 MiB.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"No hand parameters at {path}: there is no such file.")
        try:
            if path.suffix.lower() == ".json":
                if path.stat().st_size > _MAX_JSON_BYTES:
                    raise ValueError(f"it has more than {_MAX_JSON_BYTES} bytes; take a .safetensors file")
                values = json.loads(path.read_text(encoding="utf-8"))
                if not isinstance(values, dict):
                    raise ValueError("the file does not hold a JSON object")
                form, version = values.pop("format", None), values.pop("version", None)
            elif path.suffix.lower() == ".safetensors":
                form, version, values = cls._read_safetensors(path)
            else:
                raise ValueError("the name must end in .safetensors or .json")
            if form is None and "people" in values:
                raise ValueError(
                    "it holds OpenPose's key points: `read_openpose_json` reads and `fit_hands` fits them"
                )
            if form != _FORMAT:
                raise ValueError("the file was not written by HandParams.save")
            if str(version) != str(_VERSION):
                raise ValueError(f"format version {version!r} is not {_VERSION}, the one this release reads")
            unknown, missing = sorted(set(values) - set(cls.FIELDS)), sorted(set(cls.FIELDS) - set(values))
            if unknown or missing:
                raise ValueError(f"fields missing: {missing}; unknown: {unknown}")
            hands = cls.from_dict(values) if path.suffix.lower() == ".json" else cls(**values)
        except (ValueError, TypeError, OSError, RecursionError, MemoryError) as error:
            raise ValueError(f"Cannot read hand parameters from {path}: {reason_of(error)}.") from None
        return hands.to(device)

    @staticmethod
    def _read_safetensors(path: Path) -> tuple[str | None, str | None, dict[str, torch.Tensor]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                form, _, version = (file.metadata() or {}).get("format", "").partition("/")
                return form, version, {k: file.get_tensor(k) for k in file.keys()}
        except SafetensorError as error:
            raise ValueError(f"not a whole safetensors file ({error})") from None

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "HandParams":
        return HandParams(**{field.name: function(getattr(self, field.name)) for field in fields(self)})


def _rendering() -> Any:
    """`rendering`, imported on use: the only import of a higher layer, for the conveniences above."""
    from .. import rendering

    return rendering


def _holds_booleans(value: Any) -> bool:
    """Whether a tensor, an array or nested lists hold booleans, which torch would read as 0 and 1."""
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        return bool in kinds or (not kinds <= {int, float} and any(map(_holds_booleans, value)))
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def check_hand_params(value: Any) -> None:
    """Raises a `TypeError` for what is not `HandParams`, with a hint if it holds them, as fitted hands do."""
    refuse_other_import("hand_params", value, HandParams)
    if not isinstance(value, HandParams):
        held = isinstance(getattr(value, "hand_params", None), HandParams)
        hint = "; pass its `hand_params`" if held else ""
        raise TypeError(f"`hand_params` must be HandParams, got {type(value).__name__}{hint}.")


def choose_hands(where: torch.Tensor, yes: HandParams, no: HandParams) -> HandParams:
    """Selects rows: `yes` where `where` `(B,)` is true, else `no`."""
    fields = {name: torch.where(where[:, None], getattr(yes, name), getattr(no, name)) for name in HandParams.FIELDS}
    return HandParams(**fields)
