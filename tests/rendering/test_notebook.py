"""What a notebook shows of hands: text and small images."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.drawing import draw_hand_mesh


def image_in(page: str) -> Image.Image:
    encoded = re.search(r'src="data:image/png;base64,([^"]+)"', page).group(1)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


class TestShow:
    def test_tiles_are_the_meshes_in_reading_order(self, rows):
        sheet = rows.show(size=32)
        assert sheet.size == (4 * 32, 3 * 32)
        tiles = draw_hand_mesh(rows, procedural_body(), 32)
        for i, tile in enumerate(tiles):
            left, top = 32 * (i % 4), 32 * (i // 4)
            assert np.array_equal(np.asarray(sheet.crop((left, top, left + 32, top + 32))), np.asarray(tile))
        assert not np.array_equal(np.asarray(tiles[0]), np.asarray(tiles[1]))

    def test_one_row(self, rows):
        alone, first = rows[0].show(size=32), rows[:1].show(size=32)
        assert alone.size == (32, 32) and np.array_equal(np.asarray(alone), np.asarray(first))

    def test_no_more_than_asked_for(self, rows):
        assert rows.show(size=16, max_rows=3).size == (48, 16)
        with pytest.raises(ValueError, match="`max_rows`"):
            rows.show(max_rows=0)

    def test_no_rows(self):
        with pytest.raises(ValueError, match=r"no rows.*\(0,\)"):
            HandParams.zeros(0).show()


class TestHtml:
    def test_text_and_pictures_of_the_first_rows(self, rows):
        page = rows._repr_html_()
        assert "HandParams(batch_shape=(10,), visible=[right, left," in page and "first 8 of 10 rows" in page
        picture = image_in(page)
        assert np.array_equal(np.asarray(picture), np.asarray(rows[:8].show(size=128)))
        assert "http" not in page

    def test_one_row(self, rows):
        page = rows[0]._repr_html_()
        assert image_in(page).size == (128, 128) and "rows" not in page

    def test_no_rows_are_text(self):
        assert HandParams.zeros(0)._repr_html_() == (
            "<pre>HandParams(batch_shape=(0,), visible=[], device=&#x27;cpu&#x27;)</pre>"
        )
