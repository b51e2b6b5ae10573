import numpy as np
from data_samples import NUM_ROWS, rows_of
from PIL import Image

from diffusers_handiffuser.data import check_dataset, parse_row
from diffusers_handiffuser.data.sheets import RowSample, write_sheets


def test_show_images_skeletons_and_numbers(data_dir, tmp_path):
    check_dataset(rows_of(data_dir), sheet=tmp_path / "sheet.png", sheet_rows=5)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (5 * 160, 160)
    # Rows without visible hands are drawn too, and hands are drawn in the colours of fingers.
    colors = {tuple(color) for color in np.asarray(sheet).reshape(-1, 3).tolist()}
    assert {(230, 60, 60), (160, 90, 220)} <= colors


def test_go_on_in_several_files(data_dir, tmp_path, body):
    sample = RowSample(NUM_ROWS)
    for number, raw in enumerate(rows_of(data_dir)):
        row = parse_row(raw.value, raw.where, raw.folder)
        sample.offer(number, row, body(row.hand_params).joints_2d)
    rows = (sample.rows() * 5)[:65]
    paths = write_sheets(tmp_path / "x.png", rows)
    assert [path.name for path in paths] == ["x_0.png", "x_1.png"]
    assert [Image.open(path).size for path in paths] == [(1280, 1280), (160, 160)]


def test_samples_are_of_all_rows_and_always_the_same(data_dir):
    rows = [object() for _ in range(1000)]

    def draw():
        sample = RowSample(100)
        for number, _ in enumerate(rows):
            sample.offer(number, type("Row", (), {"picture": True}), None)
        return [number for number, *_ in sample.rows()]

    chosen = draw()
    assert chosen == draw() == sorted(set(chosen)) and len(chosen) == 100
    assert 350 < np.mean(chosen) < 650
