"""FID and KID of whole images and hand crops, and the Fréchet distance of hand parameters, to a reference set."""

from collections.abc import Iterator, Sequence

import torch

from ..data import HandRow, stack_hand_params
from ..data.geometry import hand_joints_in_pixels
from ..hands import HandBodyModel, HandParams
from .batches import ImageBatch, check_images, own_batches
from .judges.crops import hand_crops
from .judges.features import FeatureNetwork
from .metrics.distances import frechet_estimate, kernel_estimate
from .metrics.estimates import Estimate
from .metrics.hand_checks import parameter_features

_REFERENCE_BATCH_SIZE = 50

Features = tuple[torch.Tensor, torch.Tensor]
"""Features `(N, D)` and the row `(N,)` of each."""


class NotMeasured(Exception):
    """FID and KID cannot be measured; the message is the reason."""


class Fidelity:
    """Collects features of images and hands, and computes their distances to those of reference rows.

    Args:
        network ([`FeatureNetwork`], *optional*): of images and crops; without it only hand parameters have a distance.
        body_model ([`HandBodyModel`]): finds the reference rows' hands in their images.
    """

    def __init__(self, network: FeatureNetwork | None, body_model: HandBodyModel):
        self.network, self.body_model = network, body_model
        self._parts: dict[str, list[Features]] = {"pictures": [], "hands": [], "parameters": []}

    def add_images(self, batch: ImageBatch, joints: torch.Tensor) -> None:
        """Adds whole images and hand crops; `joints` `(N, 2, 21, 2)` are their hands' joints in pixels."""
        if self.network is not None:
            _add_image_features(self._parts, self.network, batch, joints)

    def add_hands(self, hands: HandParams, rows: torch.Tensor) -> None:
        """Adds the parameters of sampled hands `(N,)`, and the row `(N,)` of each."""
        vectors, places = parameter_features(hands)
        self._parts["parameters"].append((vectors, rows[places]))

    def features(self) -> dict[str, Features]:
        """The features so far, under `"pictures"`, `"hands"` and `"parameters"`; kinds without any are left out."""
        return {name: _join(parts) for name, parts in self._parts.items() if parts}

    def parameter_distance(self, reference: Sequence[HandRow], first_group: int, seed: int) -> Estimate | None:
        """The Fréchet distance of the hands' parameters; `None` where there are fewer than two hands.

        `first_group` is added to the indices of the reference rows: 0 where they are the evaluated rows, which are
        then resampled together.
        """
        if not self._parts["parameters"]:
            return None
        vectors, places = parameter_features(stack_hand_params(reference))
        own, groups = _join(self._parts["parameters"])
        if min(len(own), len(vectors)) < 2:
            return None
        return frechet_estimate(own, vectors, groups, places + first_group, seed)

    def image_distances(
        self, reference: Sequence[HandRow], first_group: int, size: int, seed: int
    ) -> Iterator[tuple[str, Estimate]]:
        """FID and KID of whole images, then of hand crops; reference images are resized to `size` pixels per side.

        Raises [`NotMeasured`] at the first that cannot be measured.
        """
        if self.network is None:
            raise NotMeasured("no feature network was given")
        try:
            check_images(reference)
        except ValueError as error:
            raise NotMeasured(str(error)) from error
        others: dict[str, list[Features]] = {"pictures": [], "hands": []}
        for batch in own_batches(reference, _REFERENCE_BATCH_SIZE, size):
            joints = hand_joints_in_pixels(batch.hands, self.body_model, size, size)
            _add_image_features(others, self.network, batch, joints)
        for name, shown, suffix in (("pictures", "images", ""), ("hands", "hands", "_hands")):
            if not self._parts[name] or not others[name]:
                raise NotMeasured(f"there are no {shown} to compare")
            (own, groups), (other, places) = _join(self._parts[name]), _join(others[name])
            if min(len(own), len(other)) < 2:
                raise NotMeasured(f"there are fewer than two {shown} to compare")
            sets = (own, other, groups, places + first_group, seed)
            yield f"fid{suffix}", frechet_estimate(*sets)
            yield f"kid{suffix}", kernel_estimate(*sets)


def _add_image_features(
    parts: dict[str, list[Features]], network: FeatureNetwork, batch: ImageBatch, joints: torch.Tensor
) -> None:
    parts["pictures"].append((network(centre_square(batch.images)), batch.rows))
    crops, places = hand_crops(batch.images, joints, batch.hands.hand_visible, network.crop_size)
    if len(crops):
        parts["hands"].append((network(crops), batch.rows[places[:, 0]]))


def centre_square(images: torch.Tensor) -> torch.Tensor:
    """The centred square of images `(N, H, W, 3)`: the view of `HandParams`' camera, which reference images show."""
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


def _join(parts: Sequence[Features]) -> Features:
    values, rows = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(rows)
