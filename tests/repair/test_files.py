"""Images of every mode, their metadata, and files that keep every pixel."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from diffusers_handiffuser.repair.files import read_image, save_image

MAKE, DESCRIPTION, ORIENTATION = 0x010F, 0x010E, 0x0112
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(mode, size=(13, 7), seed=0):
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0]) if bands == 1 else (size[1], size[0], bands)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode)


def exif(orientation=6):
    tags = Image.Exif()
    tags[ORIENTATION], tags[MAKE], tags[DESCRIPTION] = orientation, "Maker", "two hands"
    tags[0x8769] = {0x9003: "2024:01:02 03:04:05", 0xA002: 13, 0xA003: 7, 0x927C: b"a maker's own note"}
    tags[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return tags


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_pixel_and_the_metadata_are_kept(suffix, mode, tmp_path):
    image = noise(mode)
    image.save(tmp_path / "stored.png", exif=exif(), icc_profile=PROFILE)
    opened = read_image(tmp_path / "stored.png")
    assert opened.image.size == (7, 13) and opened.image.mode == mode and opened.notes == ()
    path = tmp_path / f"out{suffix}"
    save_image(opened.image, path)
    again = read_image(path)
    assert np.array_equal(again.image, image.transpose(Image.Transpose.ROTATE_270))
    with Image.open(path) as saved:
        tags = saved.getexif()
        assert tags[ORIENTATION] == 1 and tags[MAKE] == "Maker" and tags[DESCRIPTION] == "two hands"
        details = tags.get_ifd(0x8769)
        assert details[0x9003] == "2024:01:02 03:04:05" and details[0x927C] == b"a maker's own note"
        assert (details[0xA002], details[0xA003]) == (7, 13)
        assert tags.get_ifd(0x8825)[1] == "N"
        assert saved.info["icc_profile"] == PROFILE
    assert "exif" not in image.info


def test_a_jpeg_keeps_the_metadata_and_nearly_the_pixels(tmp_path):
    smooth = noise("RGB", (3, 2)).resize((64, 48), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "stored.tif", exif=exif(3).tobytes(), icc_profile=PROFILE)
    opened = read_image(tmp_path / "stored.tif")
    save_image(opened.image, tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as saved:
        assert saved.getexif()[ORIENTATION] == 1
        assert saved.getexif()[MAKE] == "Maker" and saved.info["icc_profile"] == PROFILE
        difference = np.asarray(saved).astype(int) - np.asarray(opened.image)
    assert 0 < np.abs(difference).mean() < 2
    with pytest.raises(ValueError, match="a JPEG has no transparency, which the image has: save 'out.jpg' as .png"):
        save_image(noise("RGBA"), tmp_path / "out.jpg")
    with pytest.raises(ValueError, match=r"an image is saved as one of \.png, .*, got 'out.bmp'"):
        save_image(smooth, tmp_path / "out.bmp")


@pytest.mark.parametrize(
    ("mode", "suffix", "result", "note"),
    [
        ("CMYK", ".tif", "RGB", "is of mode CMYK: the result is 8-bit RGB"),
        ("L", ".png", "RGB", "is of mode L: the result is 8-bit RGB"),
        ("LA", ".png", "RGBA", "is of mode LA: the result is 8-bit RGBA"),
        ("1", ".png", "RGB", "is of mode 1"),
        ("P", ".gif", "RGB", "is of mode P: the result is 8-bit RGB"),
        ("I;16", ".png", "RGB", "is of 16 bits: the result is 8-bit RGB"),
    ],
)
def test_other_modes_are_converted_and_said(mode, suffix, result, note, tmp_path):
    source = noise("RGB")
    image = source.quantize(16) if mode == "P" else source.convert("L").convert("I") if mode == "I;16" else source
    image = image.convert(mode) if mode not in ("P",) else image
    image.save(tmp_path / f"stored{suffix}")
    opened = read_image(tmp_path / f"stored{suffix}")
    assert opened.image.mode == result and any(note in line for line in opened.notes), opened.notes


def test_16_bit_colour_is_said(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 6, 3), np.uint16)
    header = b"P6 6 5 65535\\n".replace(b"\\n", b"\n")
    (tmp_path / "deep.ppm").write_bytes(header + pixels.astype(">u2").tobytes())
    assert read_image(tmp_path / "deep.ppm").image.mode == "RGB"
    file = tmp_path / "deep.png"
    file.write_bytes(png_of_16_bits(pixels))
    opened = read_image(file)
    assert opened.image.mode == "RGB" and "is of 16 bits: the result is 8-bit RGB" in opened.notes[0]


def png_of_16_bits(pixels):
    """Pillow writes none in colour."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_palette_with_transparency_and_a_color_key(tmp_path):
    palette = noise("RGB").quantize(8)
    palette.save(tmp_path / "palette.png", transparency=3)
    opened = read_image(tmp_path / "palette.png").image
    assert opened.mode == "RGBA" and set(np.unique(opened.getchannel("A"))) == {0, 255}
    key = noise("RGB")
    key.save(tmp_path / "key.png", transparency=key.getpixel((0, 0)))
    opened = read_image(tmp_path / "key.png").image
    assert opened.mode == "RGBA" and opened.getpixel((0, 0))[3] == 0


def test_several_frames_are_refused_by_name(tmp_path):
    frames = [noise("RGB", seed=i) for i in range(3)]
    for suffix in (".gif", ".png", ".webp", ".tif"):
        file = tmp_path / f"frames{suffix}"
        frames[0].save(file, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match=rf"frames\{suffix} has 3 frames"):
            read_image(file)


def test_of_a_cameras_file_of_several_images_the_first_is_read(tmp_path):
    first = noise("RGB", (64, 48))
    first.save(tmp_path / "camera.jpg", "MPO", save_all=True, append_images=[noise("RGB", (64, 48), 1)], quality=95)
    opened = read_image(tmp_path / "camera.jpg")
    assert "holds 2 images, of which the first is read" in opened.notes[0]


def test_profiles_of_other_colours_are_left_out(tmp_path):
    cmyk = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    noise("CMYK").save(tmp_path / "print.tif", icc_profile=cmyk)
    opened = read_image(tmp_path / "print.tif")
    assert "icc_profile" not in opened.image.info
    assert any("colour profile" in note and "is left out" in note for note in opened.notes)


def test_damaged_metadata_does_not_stop_a_repair(tmp_path):
    file = io.BytesIO()
    noise("RGB").save(file, "JPEG", exif=exif())
    data = file.getvalue()
    place = data.index(b"Exif\0\0") + 14
    (tmp_path / "damaged.jpg").write_bytes(data[:place] + b"\xff" * 40 + data[place + 40 :])
    read_image(tmp_path / "damaged.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot read image"), (b"no image", "cannot read image"), (b"\x89PNG\r\n\x1a\n", "cannot read image")],
)
def test_what_is_no_image(content, message, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="there is no image file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_image(tmp_path)


def test_an_image_in_memory_is_not_changed():
    image = noise("RGBA")
    image.info["exif"] = exif().tobytes()
    before = image.tobytes(), dict(image.info)
    opened = read_image(image)
    assert opened.image.size == (7, 13)
    opened.image.paste((0, 0, 0, 0), (0, 0, 7, 13))
    assert (image.tobytes(), dict(image.info)) == before
