"""Processes of the tests beside it: one that stops itself in the middle of a verb, and the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

STOPS = """
import os, signal, sys
from unlearning.data import manifest
from unlearning.__main__ import main

write = manifest.write

def stopping(*words):
    write(*words)
    os.kill(os.getpid(), signal.SIGSTOP)

manifest.write = stopping
sys.exit(main(sys.argv[1:]))
"""


def stopped(repository: Path, *words: str) -> subprocess.Popen[str]:
    """The command line, stopped for the first time: half of its files are written, and it holds its lock."""
    process = _started(repository, "-c", STOPS, *words)
    status = os.waitpid(process.pid, os.WUNTRACED)[1]
    assert os.WIFSTOPPED(status), process.communicate()
    return process


def continued(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of one that goes on, however often it stops itself."""
    while True:
        process.send_signal(signal.SIGCONT)
        status = os.waitpid(process.pid, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            break
    process.returncode = os.waitstatus_to_exitcode(status)  # it is reaped already
    assert process.stderr is not None
    with process.stderr as pipe:
        return process.returncode, pipe.read()


def command(repository: Path, *words: str) -> subprocess.Popen[str]:
    """`unlearning …`, running."""
    return _started(repository, "-m", "unlearning", *words)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr."""
    said = process.communicate()[1]
    return process.returncode, said


def _started(repository: Path, *words: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
