"""The old path of `diffusers_handiffuser.detection.detector`, kept for one release."""

from ..utils.moved import moved_module

__getattr__ = moved_module(
    __name__,
    "diffusers_handiffuser.detection.detector",
    "diffusers_handiffuser.detection.mediapipe_hands",
    "diffusers_handiffuser.detection.loading",
)
