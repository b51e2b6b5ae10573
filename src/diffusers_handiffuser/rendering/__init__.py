"""Drawing of hands and writing of their meshes and key points.

`HandView`, `hand_box_masks` and what reads and writes OpenPose's JSON are public; the other functions are called by
the convenience methods of `HandParams`.
"""

from .conditions import draw_condition as draw_condition
from .hand_depth import hand_box_masks
from .keypoints import OpenPoseKeypoints
from .notebook import draw_rows as draw_rows
from .notebook import preview_html as preview_html
from .openpose_json import read_openpose_json, write_openpose_json
from .viewer import HandView
from .viewer import hands_glb as hands_glb

__all__ = ["HandView", "OpenPoseKeypoints", "hand_box_masks", "read_openpose_json", "write_openpose_json"]
