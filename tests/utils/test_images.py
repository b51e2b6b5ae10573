import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from diffusers_handiffuser.utils.images import open_image, upright_rgb, upright_size

UPRIGHT = (np.arange(20 * 30 * 3) * 7 % 251).astype(np.uint8).reshape(20, 30, 3)
GREY = np.linspace(0, 1, 20 * 30).reshape(20, 30)
STORED = {  # from the upright image to the pixels that are stored, as EXIF defines each orientation
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 3),
}


def as_file(image: Image.Image, format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Make] = "camera"
    return tags


def stored(orientation: int, format: str) -> io.BytesIO:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    pixels = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    return as_file(Image.fromarray(pixels), format, exif=exif(orientation), **options)


class TestOrientation:
    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_is_applied(self, orientation, format):
        file = stored(orientation, format)
        image = open_image(file)
        error = np.abs(np.asarray(image).astype(int) - UPRIGHT)
        assert image.size == (30, 20)
        # a JPEG's blocks differ, and random colours are hard for it
        assert error.mean() < 3 if format == "JPEG" else error.max() == 0
        file.seek(0)
        with Image.open(file) as header:
            assert upright_size(header) == (30, 20)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_as_pillow_applies_it(self, orientation):
        with Image.open(stored(orientation, "PNG")) as image:
            assert np.array_equal(open_image(stored(orientation, "PNG")), ImageOps.exif_transpose(image))

    def test_once(self):
        """Neither the copy nor what is made of it is turned again."""
        image = upright_rgb(Image.open(stored(6, "PNG")))
        assert upright_rgb(image).size == image.size == upright_size(image) == (30, 20)
        assert ImageOps.exif_transpose(image.resize((60, 40))).size == (60, 40)

    def test_of_a_copy_in_memory(self):
        with Image.open(stored(6, "PNG")) as image:
            assert upright_rgb(image.convert("RGB")).size == (30, 20)
            assert image.size == (20, 30)  # the argument stays as it is

    def test_behind_the_pixels_of_a_png(self):
        """Legal, and read by `datasets`."""
        file = stored(6, "PNG").getvalue()
        start = file.index(b"eXIf") - 4
        chunk = file[start : start + 12 + int.from_bytes(file[start : start + 4], "big")]
        end = file.index(b"IEND") - 4
        moved = file[:start] + file[start + len(chunk) : end] + chunk + file[end:]
        assert open_image(io.BytesIO(moved)).size == (30, 20)
        assert upright_size(Image.open(io.BytesIO(moved))) == (30, 20)

    def test_sizes_are_read_without_decoding(self):
        for format, pixels in (("PNG", b"IDAT"), ("JPEG", b"\xff\xda")):
            file = stored(6, format).getvalue()
            start = file.index(pixels)
            damaged = file[: start + 8] + bytes(len(file) - start - 8)
            assert upright_size(Image.open(io.BytesIO(damaged))) == (30, 20), format
            with pytest.raises((OSError, SyntaxError)):
                open_image(io.BytesIO(file[: start + 8]))

    def test_damaged_exif_is_ignored(self):
        image = Image.fromarray(UPRIGHT)
        for damaged in (b"Exif\0\0not a TIFF header", b"Exif\0\0II*\0\xff\xff\xff\xff", b""):
            image.info["exif"] = damaged
            assert np.array_equal(upright_rgb(image), UPRIGHT)


class TestModes:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "YCbCr", "HSV", "LAB"])
    def test_with_eight_bits(self, mode):
        image = Image.fromarray(UPRIGHT).convert(mode)
        assert upright_rgb(image).mode == "RGB"
        assert np.array_equal(upright_rgb(image), image.convert("RGB"))

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
    def test_16_bit_grey(self, mode):
        values = (GREY * 65535).round().astype(">u2" if mode == "I;16B" else "<u2")
        image = Image.frombytes(mode, (30, 20), values.tobytes())
        assert np.array_equal(np.asarray(upright_rgb(image)), np.repeat((GREY * 255).round()[..., None], 3, -1))

    def test_16_bit_files(self):
        """`Image.convert` makes almost all of them white."""
        values = (GREY * 65535).round().astype(np.uint16)
        files = [as_file(Image.fromarray(values), format) for format in ("PNG", "TIFF", "JPEG2000")]
        for file in (*files, io.BytesIO(b"P5 30 20 65535\n" + values.astype(">u2").tobytes())):
            found = np.asarray(open_image(file)).astype(int)
            assert np.abs(found - (GREY * 255)[..., None]).max() <= 1, file.getvalue()[:10]

    def test_transparent_pixels_are_white(self):
        """Black is under them, as most programs store it."""
        image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
        image.paste((90, 90, 90, 255), (0, 0, 2, 4))
        palette = Image.new("P", (4, 4), 1)
        palette.putpalette([90, 90, 90, 0, 0, 0])
        palette.paste(0, (0, 0, 2, 4))
        key = as_file(Image.new("L", (4, 4)), transparency=0)
        for case in (image, image.convert("LA"), Image.open(as_file(palette, transparency=1))):
            found = np.asarray(upright_rgb(case)).astype(int)
            assert np.abs(found[:, :2] - 90).max() <= 1 and (found[:, 2:] == 255).all(), case.mode
        assert (np.asarray(open_image(key)) == 255).all()

    def test_half_transparent(self):
        assert upright_rgb(Image.new("RGBA", (1, 1), (0, 100, 255, 51))).getpixel((0, 0)) == (204, 224, 255)

    def test_float_grey(self):
        found = np.asarray(open_image(as_file(Image.fromarray(GREY.astype(np.float32)), "TIFF")))
        assert np.abs(found - (GREY * 255)[..., None]).max() <= 0.5 + 1e-4

    @pytest.mark.parametrize("value", [255.0, -0.1, float("nan"), float("inf")])
    def test_float_grey_of_another_range_is_refused(self, value):
        file = as_file(Image.fromarray(np.float32([[0, value]])), "TIFF")
        with pytest.raises(ValueError, match=r"float grey must lie in \[0, 1\], got"):
            open_image(file)

    def test_32_bit_integers_are_refused(self):
        file = as_file(Image.fromarray(np.int32([[0, 200]])), "TIFF")
        with pytest.raises(ValueError, match="32-bit integers has no defined white"):
            open_image(file)


def test_other_formats_are_refused():
    with pytest.raises(OSError, match="cannot identify"):
        open_image(as_file(Image.new("RGB", (4, 4)), "TGA"))
