"""A child process that reads what may be hostile: once sealed, it opens no file, reaches no network, grows no further.

Its parts are imported first, and what is hostile is read after `seal`. What it hands back is bytes of a fixed form,
never a pickle, and whoever receives them checks them: a child that was taken over can lie, and nothing else.

Linux has all of it without root: Landlock (kernel 5.13) for files, a network name space of its own where the system
lets users make one, limits for memory, processor and files. Elsewhere only the limits hold; `Seal` says what does.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCRATCH = "unlearning-quarantine-"  # the name of a child's empty folder begins so
_PACKAGES = Path(__file__).resolve().parents[1]
_START = "import sys; sys.path.insert(0, {home!r}); from {module} import main; main()"
# No thread but the first: a process with more of them can neither enter a new network nor fork safely.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PATH": os.defpath}

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same numbers on every architecture
_LANDLOCK_VERSION = 1  # flag: tell the version instead
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version -> how many rights there are; later ones have no more
_NETWORK_RIGHTS, _NETWORK_SINCE = 0b11, 4  # bind and connect, TCP


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sealed process may use beyond what it has."""

    memory: int  # bytes of address space
    processor_s: int
    written: int = 0  # bytes of any one file that is open already


@dataclass(frozen=True, slots=True)
class Seal:
    """What the system grants a sealed process: nothing, where True stands."""

    files: bool
    network: bool


class Child:
    """`module.main()` in an interpreter of its own: no environment, an empty folder, no file of ours open."""

    def __init__(self, module: str, kept: Sequence[int] = ()) -> None:
        """`kept`: file descriptors that it inherits, beside its standard input and output, which are pipes."""
        self._home = tempfile.TemporaryDirectory(prefix=SCRATCH)
        command = [sys.executable, "-I", "-B", "-c", _START.format(home=str(_PACKAGES), module=module)]
        self.process = subprocess.Popen(
            [*command, *map(str, kept)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._home.name,
            env=_ENVIRONMENT,
            pass_fds=kept,
            start_new_session=True,  # its children end with it
        )
        atexit.register(self.end)

    @property
    def runs(self) -> bool:
        """Whether it is still there."""
        return self.process.poll() is None

    def end(self) -> None:
        """Kill it and everything it started. Again: nothing happens."""
        atexit.unregister(self.end)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what it was to be told and has not read
                if pipe is not None:
                    pipe.close()
        self._home.cleanup()

    def leave(self) -> None:
        """In a fork: the child is somebody else's, and must not be ended when this process is."""
        atexit.unregister(self.end)
        self._home._finalizer.detach()  # type: ignore[attr-defined]  # nor its folder


def seal(limits: Limits) -> Seal:
    """From here on this process can open nothing. It keeps what is open."""
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.written),
        (resource.RLIMIT_AS, _address_space() + limits.memory),
    ):
        with contextlib.suppress(ValueError, OSError):  # a system may know no such limit
            resource.setrlimit(kind, (most, most))
    limit_processor(limits.processor_s)
    if sys.platform != "linux":
        return Seal(files=False, network=False)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    alone = libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
    return Seal(files=_locked(libc, alone), network=alone)


def limit_processor(seconds: int) -> None:
    """So many more seconds of processor; then the kernel ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def spoken(seal_: Seal) -> bytes:
    """A seal as a line that a child may send when it is ready."""
    return json.dumps(asdict(seal_)).encode() + b"\n"


def heard(line: bytes) -> Seal:
    """What `spoken` said. Raises ValueError for another line."""
    said: dict[str, Any] = json.loads(line)
    return Seal(files=said["files"] is True, network=said["network"] is True)


def _locked(libc: ctypes.CDLL, alone: bool) -> bool:
    """Landlock with no rule: no file can be opened, made, renamed or removed, no program started."""
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = [(1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1]
    if version >= _NETWORK_SINCE and not alone:
        rights.append(_NETWORK_RIGHTS)
    wanted = (ctypes.c_uint64 * len(rights))(*rights)
    rules = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(wanted), ctypes.sizeof(wanted), 0)
    if rules < 0:
        return False
    held: bool = libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(rules)
    return held


def _address_space() -> int:
    """Bytes that this process has mapped now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()
