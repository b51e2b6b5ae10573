"""Sampling: hands from text (stage 1), and the picture from text and hands (stage 2).

`hand_conditioning` holds everything that hands add to a Stable Diffusion pipeline; `pipeline_handiffuser` is the
text-to-image pipeline made of it.
"""

from .hand_conditioning import HandConditioningMixin
from .pipeline_handiffuser import HanDiffuserPipeline
from .pipeline_output import HanDiffuserPipelineOutput

__all__ = ["HanDiffuserPipeline", "HanDiffuserPipelineOutput", "HandConditioningMixin"]
