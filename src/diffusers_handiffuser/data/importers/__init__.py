"""From what other tools write to rows: hand estimators, motion capture, hand landmarks.

- `mano`: MANO parameters of hands in pictures, as HaMeR, WiLoR and their kin estimate them;
- `motion`: AMASS sequences of SMPL-H poses with captions, such as HumanML3D's, for stage 1;
- `landmarks`: 21 hand landmarks, in the picture or in 3D, as MediaPipe detects them.

What the tools write stays under the licences of the tools and of the data they were made from.
"""

from ...detection.landmarks import FittedHands, LandmarkHand, fit_landmarks, mediapipe_hands
from ...detection.placing import PlacedHands, place_hands
from .mano import import_mano_hands
from .motion import Caption, Motion, humanml3d_clips, read_humanml3d_captions, read_motion, sample_motion

__all__ = [
    "Caption",
    "FittedHands",
    "LandmarkHand",
    "Motion",
    "PlacedHands",
    "fit_landmarks",
    "humanml3d_clips",
    "import_mano_hands",
    "mediapipe_hands",
    "place_hands",
    "read_humanml3d_captions",
    "read_motion",
    "sample_motion",
]
