"""What a sealed process is tried at: it seals itself, attempts everything, and says in one line what it could do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from unlearning import quarantine
from unlearning.quarantine import Limits

MEMORY = 64 * 2**20


def main() -> None:
    """Read one line, a folder; write one line: {seal, attempt: whether it succeeded, environment, handles}.

    Asked to `spin`, use the processor until somebody ends it.
    """
    asked = sys.stdin.readline().strip()
    if asked == "spin":
        quarantine.seal(Limits(memory=MEMORY, processor_s=1))
        while True:
            pass
    home = Path(asked)
    inherited = sorted(os.listdir("/proc/self/fd"))
    seal = quarantine.seal(Limits(memory=MEMORY, processor_s=5))
    found = {name: _works(attempt) for name, attempt in _attempts(home).items()}
    environment = sorted(name for name in os.environ if name != "LC_CTYPE")  # Python sets that itself
    said = {**found, "environment": environment, "seal": [seal.files, seal.network], "handles": len(inherited)}
    sys.stdout.write(json.dumps(said) + "\n")


def _attempts(home: Path) -> dict[str, Callable[[], object]]:
    return {
        "read": (home / "secret").read_bytes,
        "read a system file": Path("/etc/passwd").read_bytes,
        "write": lambda: (home / "made").write_bytes(b"x"),
        "write where it stands": lambda: Path("made").write_bytes(b"x"),
        "make a folder": (home / "folder").mkdir,
        "remove": (home / "secret").unlink,
        "list": lambda: os.listdir(home),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "connect": lambda: socket.create_connection(("127.0.0.1", int((home.name.split("-") or ["1"])[-1])), timeout=1),
        "take much memory": lambda: bytes(4 * MEMORY),
    }


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return False
    return True
