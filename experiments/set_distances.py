"""How far an arm's images as a set are from the data's own: FID and KID, of whole images and of hand crops."""

import torch
from pixels import to_pixels

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation import FeatureNetwork, frechet_estimate, hand_crops, kernel_estimate
from diffusers_handiffuser.hands import HandBodyModel, HandParams

KINDS = {"": "pictures", "_hands": "crops"}


class ImageSet:
    """Features of images and of their hands, and the row that each belongs to.

    Args:
        network (`FeatureNetwork`): turns images into features.
        body_model (`HandBodyModel`): gives the hands' places.
    """

    def __init__(self, network: FeatureNetwork, body_model: HandBodyModel):
        self.network, self.body_model = network, body_model
        self._found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {kind: [] for kind in KINDS.values()}

    def add(self, images: torch.Tensor, hands: HandParams, rows: torch.Tensor) -> None:
        """Images `(N, H, W, 3)` in [0, 1], the hands that they were to show, and the rows' numbers `(N,)`."""
        pixels = to_pixels(images)
        joints = hand_joints_in_pixels(hands, self.body_model, pixels.shape[2], pixels.shape[1])
        crops, places = hand_crops(pixels, joints, hands.hand_visible, self.network.crop_size)
        self._found["pictures"].append((self.network(pixels), rows))
        if len(crops):
            self._found["crops"].append((self.network(crops), rows[places[:, 0]]))

    def features(self, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Features `(M, D)` and the rows that they belong to, `(M,)`."""
        values, rows = zip(*self._found[kind], strict=True)
        return torch.cat(values), torch.cat(rows)

    def distances(self, reference: "ImageSet", seed: int = 0) -> dict[str, dict[str, float]]:
        """`fid`, `kid`, `fid_hands` and `kid_hands` with 95 % intervals; rows are resampled, the same in both sets."""
        found = {}
        for suffix, kind in KINDS.items():
            (mine, groups), (other, places) = self.features(kind), reference.features(kind)
            found[f"fid{suffix}"] = frechet_estimate(mine, other, groups, places, seed).to_dict()
            found[f"kid{suffix}"] = kernel_estimate(mine, other, groups, places, seed).to_dict()
        return found
