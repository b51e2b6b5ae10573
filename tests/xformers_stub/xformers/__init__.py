"""A stand-in for xformers that runs on a CPU: put this folder's parent on PYTHONPATH before diffusers is imported.

xformers' own kernels want CUDA. This package has the one function and the one mask class that diffusers uses, with
torch's attention inside; it refuses the masks that the kernels refuse, and counts its calls.
"""

from . import ops

__all__ = ["ops"]
__version__ = "0.0.35"
