import json
from itertools import chain

import numpy as np
import pytest
import torch
from data_samples import NUM_ROWS

from diffusers_handiffuser.data import HandDataset, RowError, stack_hand_params, stream_dataset
from diffusers_handiffuser.hands import HandParams


@pytest.fixture(params=["data_dir", "parquet_dir", "webdataset_dir"])
def source(request):
    return request.getfixturevalue(request.param)


def numbers(stream) -> list[int]:
    return [int(row.text.rpartition(" ")[2]) for row in stream]


class TestRows:
    def test_are_those_of_the_data_set(self, source, data_dir):
        reference = HandDataset(data_dir)
        rows = list(stream_dataset(source, need_images=True))
        assert [row.text for row in rows] == reference.texts
        hands = stack_hand_params(rows)
        first = 1 if source.name == "tar" else 0  # whose first row is another
        for name in HandParams.FIELDS:
            assert torch.equal(getattr(hands, name)[first:], getattr(reference.hand_params, name)[first:]), name
        assert np.array_equal(rows[5].picture.square(16), reference.load_image(5, 16))
        assert rows[5].columns["source"] == "test"

    def test_a_bad_row_is_named_with_its_file(self, parquet_dir):
        import pyarrow.parquet

        path = sorted(parquet_dir.iterdir())[2]
        table = pyarrow.parquet.read_table(path).to_pylist()
        table[1]["camera"] = [-1.0, 0.0, 0.0]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path)
        with pytest.raises(RowError, match=r"train-00002-of-00004.parquet, row 1: `camera` must have"):
            list(stream_dataset(parquet_dir))

    def test_without_images(self, data_dir):
        lines = (data_dir / "metadata.jsonl").read_text().splitlines()
        rows = [json.loads(line) | {"file_name": None} for line in lines]
        (data_dir / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert len(list(stream_dataset(data_dir))) == NUM_ROWS
        with pytest.raises(RowError, match="row 0: neither `file_name` nor `image` names an image"):
            next(iter(stream_dataset(data_dir, need_images=True)))


class TestProcesses:
    # 4 shards: 2 processes share shards, 3 share rows.
    @pytest.mark.parametrize("num_processes", [2, 3])
    @pytest.mark.parametrize("shuffle_buffer", [0, 3])
    def test_share_all_rows(self, webdataset_dir, num_processes, shuffle_buffer):
        options = {"num_processes": num_processes, "shuffle_buffer": shuffle_buffer}
        parts = [numbers(stream_dataset(webdataset_dir, process_index=i, **options)) for i in range(num_processes)]
        assert sorted(chain(*parts)) == list(range(NUM_ROWS))
        assert min(map(len, parts)) >= NUM_ROWS // num_processes - 1

    def test_workers_of_a_loader_share_shards(self, webdataset_dir):
        stream = stream_dataset(webdataset_dir)
        loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2, collate_fn=lambda row: row.text)
        assert sorted(int(text.rpartition(" ")[2]) for text in loader) == list(range(NUM_ROWS))


class TestShuffling:
    def test_is_a_function_of_seed_and_epoch(self, webdataset_dir):
        stream = stream_dataset(webdataset_dir, shuffle_buffer=5, seed=1)
        first, second = numbers(stream), numbers(stream)
        assert sorted(first) == sorted(second) == list(range(NUM_ROWS))
        assert len({tuple(first), tuple(second), tuple(range(NUM_ROWS))}) == 3
        again = stream_dataset(webdataset_dir, shuffle_buffer=5, seed=1)
        assert [numbers(again), numbers(again)] == [first, second]
        again.set_epoch(0)
        assert numbers(again) == first
        assert numbers(stream_dataset(webdataset_dir, shuffle_buffer=5, seed=2)) != first

    def test_goes_on_for_ever_if_asked(self, webdataset_dir):
        stream = stream_dataset(webdataset_dir, shuffle_buffer=5, seed=1, repeat=True)
        rows = iter(stream)
        taken = [int(next(rows).text.rpartition(" ")[2]) for _ in range(3 * NUM_ROWS)]
        once = stream_dataset(webdataset_dir, shuffle_buffer=5, seed=1)
        assert taken == numbers(once) + numbers(once) + numbers(once)
        assert stream.epoch == 2


class TestResuming:
    @pytest.mark.parametrize(("process", "num_processes"), [(0, 1), (1, 2), (2, 3)])
    @pytest.mark.parametrize("shuffle_buffer", [0, 3])
    def test_goes_on_with_the_next_row(self, webdataset_dir, process, num_processes, shuffle_buffer):
        def open_stream():
            return stream_dataset(
                webdataset_dir,
                process_index=process,
                num_processes=num_processes,
                shuffle_buffer=shuffle_buffer,
                seed=4,
                repeat=True,
            )

        rows = iter(open_stream())
        whole = [next(rows).text for _ in range(2 * NUM_ROWS)]
        # Killed after every third row: each time a new stream, from a state that went through a file.
        taken, state = [], None
        while len(taken) < len(whole):
            stream = open_stream()
            if state is not None:
                stream.load_state_dict(json.loads(state))
            rows = iter(stream)
            taken += [next(rows).text for _ in range(3)]
            state = json.dumps(stream.state_dict())
        assert taken[: len(whole)] == whole

    def test_a_state_of_another_stream_is_refused(self, webdataset_dir):
        state = stream_dataset(webdataset_dir, seed=1).state_dict()
        with pytest.raises(ValueError, match="`state` is of another stream"):
            stream_dataset(webdataset_dir, seed=2).load_state_dict(state)
        with pytest.raises(ValueError, match=r"it lacks \['buffer', 'epoch', 'rows', 'sharing', 'taken'\]"):
            stream_dataset(webdataset_dir).load_state_dict({})


class TestRefusals:
    def test_options(self, data_dir):
        with pytest.raises(ValueError, match="`process_index` must be from 0 to 1, got 2"):
            stream_dataset(data_dir, process_index=2, num_processes=2)
        with pytest.raises(ValueError, match="`shuffle_buffer` must not be negative, got -1"):
            stream_dataset(data_dir, shuffle_buffer=-1)

    def test_more_processes_than_rows(self, data_dir):
        stream = stream_dataset(data_dir, process_index=NUM_ROWS, num_processes=NUM_ROWS + 1)
        with pytest.raises(ValueError, match=f"holds no row for process {NUM_ROWS}"):
            list(stream)
