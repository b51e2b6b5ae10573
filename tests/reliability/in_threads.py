"""Runs jobs at the same time, each in a thread of its own."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator


def in_threads(*jobs: Callable) -> list:
    """What the jobs return; the first error of one of them is raised when all are done."""
    found, barrier = [None] * len(jobs), threading.Barrier(len(jobs))

    def work(i: int) -> None:
        barrier.wait()
        try:
            found[i] = jobs[i]()
        except BaseException as error:
            found[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Threads take turns every ten microseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
