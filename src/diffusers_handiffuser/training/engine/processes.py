"""Control messages between ranks."""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator


class Processes:
    """Reductions of a few numbers over all processes, on the CPU, so that no accelerator has to be synchronised.

    A signal, the end of the time or a loss that is not finite may reach one process first; all have to act on it at
    the same step.
    """

    def __init__(self, accelerator: Accelerator):
        self.several = accelerator.num_processes > 1
        self.group = dist.new_group(backend="gloo", timeout=timedelta(hours=2)) if self.several else None

    def largest(self, *numbers: float) -> list[float]:
        """Each number's maximum over the processes."""
        if not self.several:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.group)
        return tensor.tolist()

    def gather(self, items: list) -> list:
        """The items of all processes, in the order of the processes."""
        if not self.several:
            return items
        gathered: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(gathered, items, group=self.group)
        return [item for items in gathered for item in items]
