import io

import torch
from PIL import ExifTags, Image

from diffusers_handiffuser.data import HandRow, Picture
from diffusers_handiffuser.evaluation.batches import own_batches


def test_own_images_are_upright(hands):
    """One of them by its EXIF alone."""
    upright = Image.new("RGB", (16, 24), "white")
    upright.paste("black", (0, 12, 16, 24))
    exif, rows = Image.Exif(), []
    exif[ExifTags.Base.Orientation] = 6
    for image, options in ((upright, {}), (upright.transpose(Image.Transpose.ROTATE_90), {"exif": exif})):
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        fields = {name: value.numpy() for name, value in vars(hands[0]).items() if name in hands.FIELDS}
        rows.append(HandRow("a hand", fields, Picture("here", file.getvalue())))
    (batch,) = own_batches(rows)
    assert batch.images.shape == (2, 16, 16, 3) and torch.equal(batch.images[0], batch.images[1])
    assert (batch.images[:, 0] == 255).all() and (batch.images[:, -1] == 0).all()
