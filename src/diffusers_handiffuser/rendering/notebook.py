"""Notebook previews of `HandParams`: small images of the rows."""

import base64
import html
import io

from PIL import Image

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.params import HandParams
from .drawing import draw_hand_mesh

COLUMNS = 4
HTML_ROWS = 8
_HTML_SIZE = 128


def draw_rows(
    hand_params: HandParams, size: int, body_model: HandBodyModel | None = None, max_rows: int = 16
) -> Image.Image:
    """See `HandParams.show`. Row `i` is in line `i // 4`, column `i % 4`."""
    if max_rows < 1:
        raise ValueError(f"`max_rows` must be at least 1, got {max_rows}.")
    rows = hand_params.reshape(-1)[:max_rows]
    if not len(rows):
        raise ValueError(f"`hand_params` has no rows to draw: its batch shape is {tuple(hand_params.batch_shape)}.")
    tiles = draw_hand_mesh(rows, procedural_body() if body_model is None else body_model, size)
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (size * min(len(tiles), COLUMNS), size * lines), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (size * (i % COLUMNS), size * (i // COLUMNS)))
    return sheet


def preview_html(hand_params: HandParams) -> str:
    """The `repr` and a small image of the first rows, embedded in the HTML."""
    count = hand_params.global_orient[..., 0].numel()
    text = html.escape(repr(hand_params))
    if count == 0:
        return f"<pre>{text}</pre>"
    note = f"<div>the first {HTML_ROWS} of {count} rows</div>" if count > HTML_ROWS else ""
    file = io.BytesIO()
    draw_rows(hand_params, _HTML_SIZE, max_rows=HTML_ROWS).save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    return f'<pre>{text}</pre><img alt="hands" src="data:image/png;base64,{image}">{note}'
