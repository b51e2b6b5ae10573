"""Image files that are read, changed in places, and written with all their other pixels as they were.

What is read is upright: EXIF's orientation is applied, and what is written says that it is upright. The rest of the
EXIF and an RGB profile are kept. A thumbnail is not, which would show what was there before, and neither is XMP.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from ..detection.finding import Photograph, read_photograph
from ..utils.atomic_files import atomic_write
from ..utils.images import IMAGE_FORMATS, upright, upright_rgb
from ..utils.messages import printable, reason_of

JPEG_QUALITY = 95
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {},
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0},
}
"""By format; all but JPEG keep every pixel. WebP is "exact" where pixels are transparent, too."""
_8_BIT = ("RGB", "RGBA")
_TIFF_EXIF = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}
"""Of the tags of a TIFF, those that describe the photograph; others say how its pixels are stored."""


@dataclass(frozen=True)
class UprightImage:
    """An image that can be repaired.

    Args:
        image (`PIL.Image.Image`): upright, mode "RGB" or "RGBA"; its EXIF, which says so, and its RGB profile are in
            `info`, where Pillow and `save_image` find them.
        notes (`tuple[str, ...]`): what was converted or left out, for people.
        format (`str`, *optional*): of the file, in Pillow's words.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()
    format: str | None = None

    @property
    def pixels(self) -> np.ndarray:
        """`(H, W, 3)`, uint8: what is seen. Transparent pixels are blended with white."""
        return np.asarray(upright_rgb(self.image))


def read_image(image: Photograph) -> UprightImage:
    """Reads an image to be repaired.

    Args:
        image (`str`, `Path`, `PIL.Image.Image` or `np.ndarray`): a file, an image of any mode, whose EXIF orientation
            is applied, or an array `(H, W, 3)`, uint8, RGB.

    Raises:
        OSError, TypeError, ValueError: it is no image or cannot be read, has several frames, or its white level is
            not known. The message names it.
    """
    if isinstance(image, Image.Image):
        return _upright("the image", image)
    if not isinstance(image, str | os.PathLike) or not Path(image).is_file():
        return UprightImage(Image.fromarray(read_photograph(image)))  # which refuses all but arrays
    name = f"image {printable(os.fspath(image))}"
    try:
        opened = Image.open(image, formats=IMAGE_FORMATS)
    except Exception as error:  # Pillow's decoders fail in many ways on damaged images
        raise ValueError(f"cannot read {name}: {reason_of(error)}") from error
    with opened:
        return _upright(name, opened)


def save_image(image: Image.Image, path: str | os.PathLike) -> None:
    """Writes an image, atomically, with the EXIF and the profile of its `info`.

    PNG, lossless WebP and TIFF keep every pixel; JPEG has quality 95.

    Args:
        image (`PIL.Image.Image`): mode "RGB" or "RGBA".
        path (`str` or `os.PathLike`): ends in .png, .webp, .tif, .tiff, .jpg or .jpeg.

    Raises:
        ValueError: the suffix is another one, or a JPEG would lose the transparency.
    """
    path = Path(path)
    kind = format_for(image, path)
    metadata = {name: image.info[name] for name in ("exif", "icc_profile") if image.info.get(name)}
    plain = image.copy()
    plain.info = {}
    with atomic_write(path) as temporary:
        plain.save(temporary, kind, **_OPTIONS[kind], **metadata)


def format_for(image: Image.Image, path: Path) -> str:
    """The format, in Pillow's words, that an image is written in to a file of this name.

    Raises:
        ValueError: it is none of those that there are, or would lose the transparency.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"an image is saved as one of {', '.join(_FORMATS)}, got {printable(path.name)!r}")
    if kind == "JPEG" and image.mode == "RGBA":
        raise ValueError(f"a JPEG has no transparency, which the image has: save {printable(path.name)!r} as .png")
    return kind


def _upright(name: str, image: Image.Image) -> UprightImage:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"{name} has {frames} frames; save the one that is meant as an image of its own")
    mode, stored_bits = image.mode, _bits(image)
    try:
        image.load()
        exif = _read_exif(image)
        converted = upright(image) if mode in _8_BIT and not _has_color_key(image) else _converted(image)
    except Exception as error:
        raise ValueError(f"cannot read {name}: {reason_of(error)}") from error
    notes = [f"{name} holds {frames} images, of which the first is read"] if frames > 1 else []
    if mode not in _8_BIT or stored_bits > 8:
        kind = f"mode {mode}" if stored_bits <= 8 else f"{stored_bits} bits"
        notes.append(f"{name} is of {kind}: the result is 8-bit {converted.mode}")
    info: dict[str | tuple[int, int], Any] = {}
    profile = image.info.get("icc_profile")
    if profile and profile[16:20] == b"RGB ":
        info["icc_profile"] = profile
    elif profile:
        notes.append(f"the colour profile of {name} is not for RGB and is left out")
    try:
        if exif is not None:
            info["exif"] = _exif_bytes(exif, image.format == "TIFF", converted.size)
    except Exception as error:  # damaged EXIF fails in many ways
        notes.append(f"the EXIF of {name} is damaged and is left out: {reason_of(error)}")
    converted.info = info
    return UprightImage(converted, tuple(notes), image.format)


def _bits(image: Image.Image) -> int:
    """Bits per channel of the file; Pillow reads 16-bit RGB as 8-bit."""
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode == "F" else 16
    tiles = getattr(image, "tile", None) or ()
    return 16 if any("16" in str(tile[3]) for tile in tiles) else 8


def _has_color_key(image: Image.Image) -> bool:
    return image.mode == "RGB" and image.has_transparency_data


def _converted(image: Image.Image) -> Image.Image:
    """Upright, in mode RGB, or RGBA where the image has transparency."""
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return upright_rgb(image)
    turned = upright(image)
    return turned.convert("RGBA")


def _read_exif(image: Image.Image) -> Image.Exif | None:
    try:
        exif = image.getexif()
    except Exception:  # damaged EXIF fails in many ways, and viewers ignore it
        return None
    return exif if len(exif) else None


def _exif_bytes(exif: Image.Exif, is_tiff: bool, size: tuple[int, int]) -> bytes:
    """The EXIF of the upright image, of this width and height."""
    details, places = (dict(exif.get_ifd(tag)) for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    for name, length in zip((ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight), size, strict=True):
        if name in details:
            details[name] = length
    kept = Image.Exif()
    for tag, value in exif.items():
        if tag not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) and (not is_tiff or tag in _TIFF_EXIF):
            kept[tag] = value
    kept[ExifTags.Base.Orientation] = 1  # Pillow drops a TIFF's when it turns it
    for group, found in ((ExifTags.IFD.Exif, details), (ExifTags.IFD.GPSInfo, places)):
        if found:
            kept[group] = found
    return kept.tobytes()
