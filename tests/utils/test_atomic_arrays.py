import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest

from diffusers_handiffuser.utils.atomic_arrays import atomic_array, cached_array, open_array

SHAPE = (3, 4)


def count(array):
    array[:] = np.arange(array.size).reshape(array.shape)


def names(folder):
    return [path.name for path in folder.iterdir()]


class TestCachedArray:
    def test_is_computed_once(self, tmp_path):
        path = tmp_path / "new" / "a.npy"
        first = cached_array(path, SHAPE, np.float32, count)
        again = cached_array(path, SHAPE, np.float32, lambda array: pytest.fail("computed again"))
        assert np.array_equal(first, np.arange(12).reshape(SHAPE)) and np.array_equal(first, again)
        assert first.dtype == np.float32 and isinstance(first, np.memmap) and not first.flags.writeable
        assert names(path.parent) == ["a.npy"]

    def test_is_a_plain_npy_file(self, tmp_path):
        cached_array(tmp_path / "a.npy", SHAPE, np.int64, count)
        np.save(tmp_path / "b.npy", np.arange(12).reshape(SHAPE))
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()

    def test_nothing_is_left_of_one_that_fails(self, tmp_path):
        def fail(array):
            count(array)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cached_array(tmp_path / "a.npy", SHAPE, np.float32, fail)
        assert not names(tmp_path)

    def test_another_shape_or_type_is_refused(self, tmp_path):
        path = tmp_path / "a.npy"
        cached_array(path, SHAPE, np.float32, count)
        for shape, dtype in (((4, 3), np.float32), (SHAPE, np.float16)):
            with pytest.raises(ValueError, match=r"a.npy holds float32 \(3, 4\), expected .*: delete it"):
                cached_array(path, shape, dtype, count)

    def test_threads_that_compute_it_at_the_same_time(self, tmp_path):
        barrier = threading.Barrier(4)
        found = []

        def fill(array):
            barrier.wait(60)  # all are writing
            count(array)

        def work():
            found.append(np.array(cached_array(tmp_path / "a.npy", SHAPE, np.float32, fill)))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and all(np.array_equal(array, np.arange(12).reshape(SHAPE)) for array in found)
        assert names(tmp_path) == ["a.npy"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_leaves_only_a_temporary_file(tmp_path):
    path = tmp_path / "a.npy"

    def fill(array):
        array[:2] = 7
        array.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=cached_array, args=(path, SHAPE, np.float32, fill))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".a.") and left.endswith(".tmp.npy")
    assert np.array_equal(cached_array(path, SHAPE, np.float32, count), np.arange(12).reshape(SHAPE))


class TestAtomicArray:
    def test_is_shared_until_it_is_whole(self, tmp_path):
        path = tmp_path / "a.npy"
        with atomic_array(path, SHAPE, np.float32) as temporary:
            assert not path.exists()
            for row in range(3):  # as several processes do
                share = np.load(temporary, mmap_mode="r+")
                assert not share[row].any()
                share[row] = row + 1
                share.flush()
        assert open_array(path, SHAPE, np.float32)[:, 0].tolist() == [1, 2, 3]

    def test_takes_the_place_of_an_older_file(self, tmp_path):
        path = tmp_path / "a.npy"
        cached_array(path, (1,), np.int8, count)
        with atomic_array(path, SHAPE, np.float32):
            assert open_array(path, (1,), np.int8).tolist() == [0]
        assert not open_array(path, SHAPE, np.float32).any()
