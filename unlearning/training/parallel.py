"""Data parallelism is PyTorch's own: torchrun sets the environment, this joins the group and leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unlearning.errors import ParamsError

_PATIENCE = timedelta(hours=2)  # ranks wait for rank 0 while it hashes, reads and writes large files


@dataclass(frozen=True, slots=True)
class World:
    """Where this process stands. `torchrun` sets it; a plain `python` run is a world of one."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and log lines."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """This process's rows of a batch. Raises ParamsError if they are not the same number on every rank."""
        if batch_size % self.size:
            raise ParamsError(
                f"batch_size {batch_size} is over all processes and cannot be shared equally by {self.size}; "
                f"a multiple of {self.size} is right"
            )
        return batch_size // self.size

    def mean(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The average over ranks, in one all-reduce."""
        if self.size == 1 or not values:
            return list(values)
        flat = torch.cat([value.detach().reshape(-1) for value in values])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.size, [value.numel() for value in values])
        return [part.view_as(value) for part, value in zip(parts, values, strict=True)]

    def gathered(self, value: Any) -> list[Any]:
        """Every rank's value in their order, on rank 0; [] on the others."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box if self.leads else []

    def wait(self) -> None:
        """Until every rank is here."""
        if self.size > 1:
            dist.barrier()

    def told(self, said: str | None) -> str | None:
        """What rank 0 says, on every rank: its own argument there, ignored elsewhere."""
        if self.size == 1:
            return said
        box = [said]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def world() -> Iterator[World]:
    """Join the process group of this launch, and leave it on the way out."""
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if size == 1:
        yield World(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()
