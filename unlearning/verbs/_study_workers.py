"""Jobs in child processes, a few at a time: what one of them breaks, leaks or holds is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unlearning.process import PARENT

_LOOK_S = 0.2  # between two looks at whether a child has ended
_GRACE_S = 30.0  # from the request to stop until the kill
_LAST_WORDS = 4_000  # bytes of a log that are searched for its last line


@dataclass(frozen=True, slots=True)
class Job:
    """One child: `python -m unlearning WORDS`, its output in `log`."""

    name: str
    words: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    job: Job
    code: int  # negative: by that signal

    @property
    def sentence(self) -> str:
        """The child's own last line, for one that did not end well."""
        with self.job.log.open("rb") as file:
            file.seek(max(0, self.job.log.stat().st_size - _LAST_WORDS))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        last = lines[-1][:400] if lines else "it said nothing"
        if self.code < 0:
            return f"the process was ended by signal {-self.code} (out of memory, say); its last line: {last}"
        return last.removeprefix("unlearning: ")


def run(jobs: Sequence[Job], workers: int, ended: Callable[[Ended], None]) -> None:
    """Run every job, `workers` at a time, and tell of each as it ends. None outlives this call, or this process."""
    waiting, running = deque(jobs), list[tuple[Job, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                running.append((job, _start(job, workers)))
            with suppress(subprocess.TimeoutExpired):
                running[0][1].wait(_LOOK_S)
            for job, process in list(running):
                code = process.poll()
                if code is not None:
                    running.remove((job, process))
                    ended(Ended(job, code))
    finally:
        _stop([process for _, process in running])


def _start(job: Job, workers: int) -> subprocess.Popen[bytes]:
    # Its own requests go to its own ledger; and threads of several children must not share one core. Who gives a number
    # of threads means it: the other cores may be somebody else's.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    ours = {"UNLEARNING_LEDGER_URL": "", PARENT: str(os.getpid()), "OMP_NUM_THREADS": threads}
    if sys.dont_write_bytecode:  # else every child compiles all of torch again, which takes longer than a small point
        ours |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(job.log.parent.parent / "bytecode")}
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        command = [sys.executable, "-m", "unlearning", *job.words]
        return subprocess.Popen(command, env={**os.environ, **ours}, stdout=log, stderr=subprocess.STDOUT)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
