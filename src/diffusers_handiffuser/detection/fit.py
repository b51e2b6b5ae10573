"""Fits hands to photographs or to detected hands."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..hands import HandBodyModel
from ..hands.body_model import procedural_body
from ..rendering.keypoints import OpenPoseKeypoints
from ..utils.messages import reason_of
from .confidence import confidences
from .detector import DetectedHand, is_hand, validate_hand
from .finding import AnyDetector, Photograph, open_detector, read_photograph, search
from .fitted_hands import FittedHands, no_hands
from .openpose_hands import hands_of_people, sizes_of
from .people import group_people, reach_of
from .placing import place_hands, scales_of_hands
from .single_hands import SingleHands, fit_single_hands, to_tensor

STEPS = 30
_LARGEST_HAND = 1.0
"""Metres. Larger ones are in millimetres or pixels, and could not be told from bad fits."""

_WANTED = (
    "`images` must be photographs (files, PIL images, arrays (H, W, 3) uint8), the `DetectedHand`s of each image, or "
    "`OpenPoseKeypoints`"
)

Images = (
    Photograph
    | Sequence[Photograph]
    | Sequence[DetectedHand]
    | Sequence[Sequence[DetectedHand]]
    | OpenPoseKeypoints
    | Sequence[OpenPoseKeypoints]
)


def fit_hands(
    images: Images,
    image_sizes: Sequence[tuple[int, int]] | tuple[int, int] | None = None,
    *,
    detector: AnyDetector = None,
    body_model: HandBodyModel | None = None,
    trust_sides: bool = False,
    steps: int = STEPS,
) -> FittedHands:
    """Finds the hands in photographs and fits a body to them, one row per person.

    A hand with 3D landmarks is fitted as a left and as a right one, and the better fit decides, whatever the detector
    says. A left and a right hand of like size within reach of each other are one person's. The body is placed so that
    both lie on their landmarks. Hands that cannot be fitted are left out, with a warning that names image and hand.

    OpenPose's key points say which hands are one person's and on which sides they are. They have no depth, so that the
    fit is one of several possible ones, with a low confidence.

    Args:
        images: a photograph or a list of them (files, PIL images of any mode, arrays `(H, W, 3)`, uint8, RGB); or the
            [`DetectedHand`]s of an image, or a list of such lists, one for each image; or [`OpenPoseKeypoints`] of an
            image, or a list of these.
        image_sizes (sequence of `(width, height)`, *optional*): of the images of detected hands, or one for all;
            pixels. Of key points, where they name no size.
        detector ([`HandDetector`], `str` or `Path`, *optional*): for photographs, see [`find_hands`].
        body_model ([`HandBodyModel`], *optional*): the body whose hands are fitted; by default the procedural one.
        trust_sides (`bool`): keep the sides of the detected hands.
        steps (`int`): of Levenberg-Marquardt.

    Returns:
        [`FittedHands`]: sorted by image. Keep those with a high `confidence`.

    Raises:
        TypeError, ValueError: if `images` is nothing of the above, or detected hands come without `image_sizes`.
        ImportError, OSError: as [`find_hands`].

    Examples:
        ```py
        >>> from diffusers_handiffuser import fit_hands

        >>> fitted = fit_hands(["first.jpg", "second.jpg"])
        >>> sure = fitted[fitted.confidence.nan_to_num(1).amin(-1) > 0.8]
        >>> sure.hand_params.save("hands.safetensors")
        ```
    """
    body_model = procedural_body() if body_model is None else body_model
    if isinstance(images, (Photograph, OpenPoseKeypoints)):
        items: list[Any] = [images]
    elif isinstance(images, Iterable) and not is_hand(images):
        items = list(images)
    else:
        raise TypeError(f"{_WANTED}, or a list of these, got {type(images).__name__}.")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"`steps` must be a whole number of at least 1, got {steps}.")
    if items and all(is_hand(item) for item in items):
        items = [items]
    given_people = None
    if items and all(isinstance(item, OpenPoseKeypoints) for item in items):
        sizes = sizes_of(items) if image_sizes is None else check_sizes(image_sizes, len(items))
        detected, given_people = _hands_of_keypoints(items)
    elif any(isinstance(item, Photograph) for item in items):
        if image_sizes is not None:
            raise ValueError("`image_sizes` are for detected hands: photographs have their own.")
        detected, sizes = _find_all(items, detector)
    else:
        detected, sizes = _check_all(items), check_sizes(image_sizes, len(items))
    index = [i for i, hands in enumerate(detected) for _ in hands]
    hands = [hand for found in detected for hand in found]
    if not hands:
        return no_hands()
    single = fit_single_hands(hands, body_model, steps, trust_sides)
    people = find_people(hands, single, index, body_model) if given_people is None else given_people
    return place_people(hands, single, people, torch.tensor(index), sizes, body_model)


def find_people(
    hands: Sequence[DetectedHand], single: SingleHands, image_index: Sequence[int], body_model: HandBodyModel
) -> list[list[int]]:
    """The hands of each person, see [`group_people`].

    Args:
        hands (sequence of [`DetectedHand`]): N hands.
        single ([`SingleHands`]): their fits.
        image_index (sequence of `int`): the image of each hand.
        body_model ([`HandBodyModel`]): the body that was fitted.
    """
    pixels = torch.stack([to_tensor(hand.landmarks) for hand in hands])
    scales = scales_of_hands(single.rotations, single.poses, single.sides, pixels, body_model)
    return group_people(image_index, single.sides.tolist(), pixels[:, 0], scales, reach_of(body_model))


def place_people(
    hands: Sequence[DetectedHand],
    single: SingleHands,
    people: Sequence[Sequence[int]],
    image_index: torch.Tensor,
    sizes: torch.Tensor,
    body_model: HandBodyModel,
) -> FittedHands:
    """The fitted hands of people.

    Args:
        hands (sequence of [`DetectedHand`]): N hands.
        single ([`SingleHands`]): their fits.
        people (sequence of sequences of `int`): the hands of each of B people, one or two of different sides.
        image_index (`torch.Tensor` of shape `(N,)`, int64): the image of each hand.
        sizes (`torch.Tensor` of shape `(I, 2)`, int64): width and height of the images, pixels.
        body_model ([`HandBodyModel`]): the body that is placed.
    """
    number = len(people)
    chosen = torch.tensor([hand for group in people for hand in group])
    place = (torch.tensor([row for row, group in enumerate(people) for _ in group]), single.sides[chosen])
    index = image_index[torch.tensor([group[0] for group in people])]
    rotations, poses = torch.eye(3).repeat(number, 2, 1, 1), torch.zeros(number, 2, 45)
    joints, visible = torch.zeros(number, 2, 21, 2), torch.zeros(number, 2, dtype=torch.bool)
    metres, confidence = torch.full((number, 2), torch.nan), torch.full((number, 2), torch.nan)
    rotations[place], poses[place], visible[place] = single.rotations[chosen], single.poses[chosen], True
    joints[place] = torch.stack([to_tensor(hands[hand].landmarks) for hand in chosen])
    metres[place] = single.error_metres[chosen]
    placed = place_hands(rotations, poses, joints, visible, sizes[index], body_model)
    confidence[place] = confidences(hands, single, chosen, placed.error_pixels[place])
    return FittedHands(placed.hand_params, placed.error_pixels, metres, confidence, index, sizes[index])


def _find_all(images: Sequence[Any], detector: AnyDetector) -> tuple[list[list[DetectedHand]], torch.Tensor]:
    """The hands in photographs, and their sizes `(I, 2)`."""
    found, sizes, opened = [], [], open_detector(detector)
    for number, image in enumerate(images):
        pixels = read_photograph(image, f"image {number}")
        hands = search(pixels, opened, f"image {number}, ")
        found.append(_left_valid(hands, number))
        sizes.append(pixels.shape[1::-1])
    return found, torch.tensor(sizes)


def _hands_of_keypoints(images: Sequence[OpenPoseKeypoints]) -> tuple[list[list[DetectedHand]], list[list[int]]]:
    """The hands in each image, and of each person, as positions among all of them."""
    detected, groups, first = [], [], 0
    for number, keypoints in enumerate(images):
        people, left_out = hands_of_people(keypoints)
        for reason in left_out:
            warnings.warn(f"image {number}, left out is {reason}.", RuntimeWarning, stacklevel=3)
        people = [_left_valid(hands, number) for hands in people]
        for hands in filter(None, people):
            groups.append(list(range(first, first + len(hands))))
            first += len(hands)
        detected.append([hand for hands in people for hand in hands])
    return detected, groups


def _check_all(images: Sequence[Any]) -> list[list[DetectedHand]]:
    for number, hands in enumerate(images):
        if not isinstance(hands, Sequence) or isinstance(hands, str):
            raise TypeError(f"{_WANTED}, but image {number} is {type(hands).__name__}.")
    return [_left_valid(hands, number) for number, hands in enumerate(images)]


def _left_valid(hands: Sequence[Any], image: int) -> list[DetectedHand]:
    """The hands that can be fitted; warns of the others."""
    kept = []
    for number, hand in enumerate(hands):
        try:
            kept.append(check_hand(hand))
        except (TypeError, ValueError) as error:
            warnings.warn(
                f"image {image}, hand {number} is left out: {reason_of(error)}", RuntimeWarning, stacklevel=4
            )
    return kept


def check_hand(hand: Any) -> DetectedHand:
    """A hand that can be fitted; raises a `TypeError` or `ValueError` if this one cannot."""
    if not is_hand(hand):
        raise TypeError(f"it must be a `DetectedHand`, got {type(hand).__name__}")
    hand = validate_hand(hand)
    for name in ("landmarks", "landmarks_3d"):
        if (points := getattr(hand, name)) is not None:
            points = to_tensor(points)
            extent = (points.amax(0) - points.amin(0)).amax()
            if not torch.isfinite(points.square().sum()) or not extent > 1e-6 * points.abs().amax():
                raise ValueError(f"its `{name}` are in one place or beyond all bounds")
            if name == "landmarks_3d" and extent > _LARGEST_HAND:
                raise ValueError(f"its `landmarks_3d` must be metres, but span {extent:g} of them")
    return hand


def check_sizes(sizes: Any, number: int) -> torch.Tensor:
    """Sizes `(number, 2)`, int64, of one for all or one per image; raises a `ValueError` if they are neither."""
    if sizes is None and not number:
        raise ValueError("`images` is empty: give at least one photograph, or `image_sizes` with detected hands.")
    if sizes is None:
        raise ValueError("`image_sizes`, (width, height) in pixels, must be given with detected hands.")
    try:
        found = torch.as_tensor(sizes)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    whole = found.shape in ((2,), (number, 2)) and (found > 0).all() and (found == found.long()).all()
    if not whole:
        raise ValueError(
            f"`image_sizes` must be (width, height), or one for each of {number} images, whole pixels, got {sizes}."
        )
    return found.long().expand(number, 2)
