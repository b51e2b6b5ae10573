"""Importers: convert the output of hand estimators, motion capture and landmark detectors to rows.

- `mano`: MANO parameters of hands in images, as estimated by HaMeR, WiLoR and similar tools;
- `motion`: AMASS sequences of SMPL-H poses with captions, such as HumanML3D's, for stage 1;
- `landmarks`: 21 hand landmarks, in the image or in 3D, as detected by MediaPipe.

The output of a tool stays under the licences of the tool and of the data it was made from.
"""

from ...detection.fitted_hands import FittedHands
from ...detection.landmarks import LandmarkHand, fit_landmarks
from ...detection.mediapipe_hands import mediapipe_hands
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
