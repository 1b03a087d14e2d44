"""The processes of one run: one alone, or those that torchrun started, on one machine or many."""

import os
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.distributed as dist  # pyright: ignore[reportMissingImports]


class Group:
    """This process among the others. What they agree on goes by gloo, beside the gradients."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device: Any = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", local)
            torch.cuda.set_device(self.device)
        self.control: Any = None
        if self.size > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            self.control = dist.new_group(backend="gloo")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    def wrap(self, model: Any) -> Any:
        """The model, with its gradients averaged over all processes."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def any(self, *flags: bool) -> list[bool]:
        """Which flags are up in one process at least: the same answer for all, so that they stop after the same step."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(raised, op=dist.ReduceOp.MAX, group=self.control)
        return [bool(flag) for flag in raised.tolist()]

    def of_first(self, value: Any) -> Any:
        """What the first process has."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def all(self, value: Any) -> list[Any]:
        """What each process has, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def leave(self) -> None:
        """Wait for the others, so that none ends while the first still writes; then part."""
        if self.size > 1:
            dist.barrier(group=self.control)
            dist.destroy_process_group()
