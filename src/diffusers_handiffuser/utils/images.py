"""Image files of any mode as upright 8-bit RGB.

Cameras store the sensor's rows and write beside them, as EXIF, which way is up. Pillow opens such an image lying on
its side, `Image.convert` clips 16-bit grey to white, and it uncovers what transparent pixels hide.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

_SUFFIXES = {
    "PNG": ("png", "apng"),
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "WEBP": ("webp",),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("pbm", "pgm", "ppm", "pnm", "pfm"),
    "JPEG2000": ("jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
}
IMAGE_FORMATS = tuple(_SUFFIXES)
"""Pillow reads other formats too, some through external programs: it runs Ghostscript for PostScript."""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)
"""Names of their files end in a dot and one of these, in any case."""

_16_BIT_FORMATS = ("PNG", "PPM", "JPEG2000")
"""Where Pillow's mode "I", 32-bit integers, stands for 16-bit grey."""

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the stored pixels to the upright image, by EXIF's orientation; others mean upright."""

_METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


def open_image(file: str | Path | BinaryIO) -> Image.Image:
    """Reads an image file of one of `IMAGE_FORMATS` as `upright_rgb`.

    Raises:
        OSError: there is no such file, or it is no such image, or it is damaged.
        ValueError: the image has a mode without a defined white, see `upright_rgb`.
    """
    with Image.open(file, formats=IMAGE_FORMATS) as image:
        return upright_rgb(image)


def upright(image: Image.Image) -> Image.Image:
    """A copy in the same mode, the way up that its EXIF orientation says, without EXIF.

    Args:
        image (`PIL.Image.Image`): of any mode; one that was opened from a file keeps its EXIF in `info`.
    """
    image.load()  # TIFFs are turned by this, and the EXIF of a PNG may follow its pixels
    return _turned(image.copy(), _orientation(image))


def upright_rgb(image: Image.Image) -> Image.Image:
    """As `upright`, in mode RGB.

    Transparent pixels are blended with white. 16-bit grey is scaled, as is float grey, whose values must lie in
    [0, 1].

    Args:
        image (`PIL.Image.Image`): of any mode.

    Raises:
        ValueError: float grey outside of [0, 1], or grey of 32-bit integers.
    """
    image.load()
    return _turned(_rgb(image), _orientation(image))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of `upright_rgb`, in pixels; the image is not decoded for it, unless it is a TIFF."""
    if image.format == "TIFF" or (image.format == "PNG" and _has_metadata_behind_pixels(image)):
        image.load()
    width, height = image.size
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # that of PNGs would decode the image
    except Exception:  # damaged EXIF fails in many ways, and viewers ignore it
        return 1


def _has_metadata_behind_pixels(image: Image.Image) -> bool:
    """Whether a PNG has an EXIF or text chunk that Pillow reads only when it decodes the image."""
    file: BinaryIO | None = getattr(image, "fp", None)
    if file is None:  # decoded already
        return False
    position, behind = file.tell(), False
    file.seek(8)
    try:
        while len(head := file.read(8)) == 8:
            name = head[4:]
            if behind and name in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            behind = behind or name == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
        return False
    finally:
        file.seek(position)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    if orientation in _TRANSPOSES:
        image = image.transpose(_TRANSPOSES[orientation])
    for name in _METADATA:
        image.info.pop(name, None)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _16_BIT_FORMATS):
        return _grey(np.asarray(image) / 65535)
    if image.mode == "I":
        raise ValueError("grey of 32-bit integers has no defined white; save it with 8 or 16 bits")
    if image.mode == "F":
        values = np.asarray(image)
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"float grey must lie in [0, 1], got {values.min():g} to {values.max():g}")
        return _grey(values)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    """RGB from grey `(H, W)` in [0, 1]."""
    return Image.fromarray((values * 255).round().astype(np.uint8)).convert("RGB")
