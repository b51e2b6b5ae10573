"""The old path of `diffusers_handiffuser.detection.fitting`, kept for one release."""

from ...utils.moved import moved_module

__getattr__ = moved_module(__name__, "diffusers_handiffuser.detection.fitting")
