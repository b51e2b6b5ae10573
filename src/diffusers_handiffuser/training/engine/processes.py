"""What the processes of a run have to know of each other between steps."""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator


class Processes:
    """Small messages between the processes of a run, on the CPU, so that no accelerator is waited for.

    Each process may be the one to get a signal, to look at its clock, or to meet a loss that is not finite; what
    follows from it must happen in all of them at the same step.
    """

    def __init__(self, accelerator: Accelerator):
        self.several = accelerator.num_processes > 1
        self.group = dist.new_group(backend="gloo", timeout=timedelta(hours=2)) if self.several else None

    def largest(self, *numbers: float) -> list[float]:
        """The largest of what the processes hold, number by number."""
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
