"""A process that computes for another: it ends with the one that started it, and knows what machine it is on."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Any

PARENT = "UNLEARNING_PARENT"  # environment: the process id of whoever started this one

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when whoever started this process dies: two trainers must never share a folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    expected = os.environ.get(PARENT)
    if expected is not None and "RANK" not in os.environ and os.getppid() != int(expected):
        sys.exit("the process that started this one is gone")  # it died before the kernel was asked


def machine() -> dict[str, Any]:
    """What a measurement must say of its machine: processor, cores, memory in GiB, system, Python. No host name."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
