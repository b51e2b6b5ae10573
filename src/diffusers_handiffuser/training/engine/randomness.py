"""Randomness keyed by seed and step, independent of what was drawn before."""

import hashlib

import numpy as np
import torch


def seeded_generator(seed: int, *key: object) -> torch.Generator:
    """CPU generator whose stream depends on the seed and on every part of the key."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class BatchRandom:
    """Random numbers for the rows of one step.

    Drawn on the CPU for the batch of all processes, then cut to `rows`, the slice of this process: the numbers of a
    row do not depend on the number of processes.
    """

    def __init__(self, generator: torch.Generator, batch_size: int, rows: slice, device: torch.device | str = "cpu"):
        self.generator, self.batch_size, self.rows, self.device = generator, batch_size, rows, device

    def one_uniform(self) -> float:
        """One number in [0, 1) for the whole batch, the same in all processes."""
        return float(torch.rand((), generator=self.generator))

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers (rows, *shape)."""
        return torch.randn(self.batch_size, *shape, generator=self.generator)[self.rows].to(self.device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Numbers in [0, 1) of shape (rows, *shape)."""
        return torch.rand(self.batch_size, *shape, generator=self.generator)[self.rows].to(self.device)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers in [0, high) of shape (rows, *shape)."""
        return torch.randint(high, (self.batch_size, *shape), generator=self.generator)[self.rows].to(self.device)


class ShuffledRows:
    """An endless sampler of row numbers: one permutation per pass over the data, read at any position.

    A stream, whose number of rows is not known (`None`), has an order of its own: rows are numbered by position.
    """

    def __init__(self, num_rows: int | None, seed: int):
        self.num_rows, self.seed = num_rows, seed
        self._epoch: int | None = None
        self._order = np.empty(0, np.int64)

    def __getitem__(self, positions: slice) -> np.ndarray:
        if self.num_rows is None:
            return np.arange(positions.start, positions.stop)
        taken = []
        position = positions.start
        while position < positions.stop:
            epoch, offset = divmod(position, self.num_rows)
            if epoch != self._epoch:
                generator = seeded_generator(self.seed, "epoch", epoch)
                self._epoch, self._order = epoch, torch.randperm(self.num_rows, generator=generator).numpy()
            part = self._order[offset : offset + positions.stop - position]
            taken.append(part)
            position += len(part)
        return np.concatenate(taken)
