"""An image of the studio whose hands are known, with a detector, a judge and painters of a few lines."""

import functools
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw

from diffusers_handiffuser import DetectedHand, HandParams
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.hands import ImageCrop, map_camera
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair import HandCrop, HandJudgement
from diffusers_handiffuser.repair.squares import Square
from diffusers_handiffuser.studio import Studio, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

BLEMISH = (150, 40, 160)
"""The colour that stands for what is wrong with a hand."""


def detected(hands: HandParams, size: tuple[int, int]) -> list[DetectedHand]:
    """What a perfect detector finds of hands in the camera of an image of this width and height."""
    body = procedural_body()
    pixels, geometry = hand_joints_in_pixels(hands, body, *size).numpy(), body(hands)
    return [
        DetectedHand(("left", "right")[k], pixels[row, k], 0.9, geometry.joints_3d[row, k].numpy())
        for row in range(len(hands))
        for k in range(2)
        if hands.hand_visible[row, k]
    ]


@dataclass
class Room:
    """An image of hands, and stand-ins for detector, judge and painter that know it.

    Args:
        image (`PIL.Image.Image`): RGB.
        hands (`HandParams`): one row per person, in the camera of the image.
        scene (`Scene`): of the studio, by which hands are drawn.
        drawn (`HandParams`, *optional*): the hand that was drawn last, in the camera of its square.
        crops (`list[HandCrop]`): what the painters got.
        missed (`set[str]`): sides that the detector finds only where it looks closer.
    """

    image: Image.Image
    hands: HandParams
    scene: object
    drawn: HandParams | None = None
    crops: list[HandCrop] = field(default_factory=list)
    missed: set[str] = field(default_factory=set)

    def detect(self, image):
        """All hands of the image; of a square, which has another size, the one that was drawn last."""
        if image.shape[1::-1] == self.image.size:
            return [hand for hand in detected(self.hands, self.image.size) if hand.side not in self.missed]
        return [] if self.drawn is None else detected(self.drawn, image.shape[1::-1])

    def closer(self, hand, size):
        """A hand as it is seen in the square, `size` pixels, of what is around its box."""
        square = Square.around(hand.box, 1.6, self.image.size)
        return detected(square.to_square(hand.before, size), (size, size))

    def judge(self, image, hand, hand_params):
        """Bad is a hand with a blemish in its box."""
        left, top, right, bottom = (round(edge) for edge in hand.box)
        part = image[max(0, top) : bottom + 1, max(0, left) : right + 1].astype(int)
        share = float((np.abs(part - BLEMISH).max(-1) < 12).mean())
        return HandJudgement(share > 0.002, "it has a blemish" if share > 0.002 else "it looks good", {"share": share})

    def paint(self, crop):
        """The hand that is wanted, as the studio draws it."""
        self.crops.append(crop)
        self.drawn = crop.hand_params
        side = "left" if crop.hand_params.hand_visible[0, 0] else "right"
        alone = {"gestures": {side: "open_hand"}, "views": {side: "palm"}, "turns": {}, "kind": "close_up"}
        scene = replace(self.scene, **alone)
        image, _ = studio(crop.image.width).draw([scene], crop.hand_params)
        pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        return Image.composite(Image.fromarray(pixels), crop.image, crop.mask)

    def blemish(self, *sides):
        """Spoils hands: a spot on the palm, and a finger too many beside it."""
        pen = ImageDraw.Draw(self.image)
        for hand in detected(self.hands, self.image.size):
            if hand.side in sides:
                palm, size = hand.landmarks[[0, 5, 17]].mean(0), np.ptp(hand.landmarks, 0).max()
                skin = self.image.getpixel(tuple(map(int, hand.landmarks[[0, 9]].mean(0))))
                outwards = hand.landmarks[17] - hand.landmarks[5]
                start, end = (
                    hand.landmarks[17],
                    hand.landmarks[17] + 0.9 * outwards / np.linalg.norm(outwards) * size / 3,
                )
                pen.line([tuple(start), tuple(end)], fill=skin, width=max(3, round(size / 9)))
                pen.ellipse([*(palm - size / 12), *(palm + size / 12)], fill=BLEMISH)
        return self


@functools.cache
def studio(size):
    return Studio(procedural_body(), size)


class Painter:
    """Of a function, with a size."""

    def __init__(self, function, size=96):
        self.function, self.size = function, size

    def __call__(self, crop):
        return self.function(crop)


def make_room(kind="close_up", index=1, side=200, size=None, corner=(0, 0)):
    """A plain image of the studio, `side` pixels high, perhaps at a corner of a larger image of another size."""
    scene = replace(sample_scene(7, "train", index, kind), texture="plain", turns={})
    hands = pose_scenes([scene], procedural_body())
    drawn, _ = studio(side).draw([scene], hands)
    image = Image.fromarray((drawn[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    if size is not None:
        large = Image.new("RGB", size, image.getpixel((2, 2)))
        large.paste(image, corner)
        box = (-corner[0], -corner[1], size[0] - corner[0], size[1] - corner[1])
        hands = hands.replace(camera=map_camera(hands.camera, ImageCrop((side, side), box, size)))
        image = large
    return Room(image, hands, scene)


def only_masks_changed(output, before):
    """Whether every pixel outside of the masks is as before, and something inside is not."""
    old, new = np.asarray(before), np.asarray(output.image)
    touched = np.zeros(old.shape[:2], bool)
    for hand in output.hands:
        if hand.mask is not None:
            touched |= np.asarray(hand.mask) > 0
    assert old.shape == new.shape and old.dtype == new.dtype
    return np.array_equal(old[~touched], new[~touched]) and bool((old != new).any()) == bool(touched.any())
