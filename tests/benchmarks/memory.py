"""Peak memory of one variant, in a process of its own: `python -m tests.benchmarks.memory DEVICE CASE VARIANT`.

On CUDA the allocator's peak; on the CPU the most resident memory (VmHWM) beyond what importing everything took.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from tests.benchmarks import cases, published
from tests.benchmarks.ours import batches_of, ours

_STEPS = 2
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # what is freed is given back


def peak_bytes(device: str, name: str, variant: str) -> int:
    """Run this module as a child and read what it says."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", device, name, variant]
    environment = {**os.environ, **ENVIRONMENT}
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def _main(device_type: str, name: str, variant: str) -> int:
    device, case = torch.device(device_type), cases.EVERY[device_type][name]
    case.generator.build(case.image_size, case.channels)  # what a first build imports is no part of a step
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    torch.manual_seed(0)
    if variant == "ours":
        step = ours(case.generator.build(case.image_size, case.channels), case, device).step
    else:
        original = case.generator.build(case.image_size, case.channels)
        step = published.step_of(original, batches_of(case), case.corruption, device)
    for number in range(_STEPS):
        step(number)
    used = torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM") - before
    sys.stdout.write(str(used))
    return 0


def resident(what: str) -> int:
    """`VmRSS` or `VmHWM` of this process, bytes."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
