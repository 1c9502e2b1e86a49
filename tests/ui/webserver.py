"""Dagster's pages over a folder in which something ran."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ui.browser import Page


@contextmanager
def serving(module: str, home: Path, env: Mapping[str, str]) -> Iterator[str]:
    """The address of a webserver over the code location `module`; it is gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-h", "127.0.0.1", "-p", str(port), "-m", module]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), *words]
    with (home / "webserver.log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=dict(env), stdout=log, stderr=log)
        try:
            _until_it_serves(f"http://127.0.0.1:{port}/server_info", process, home / "webserver.log")
            _dismiss_the_invitation(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def visit(page: Page, address: str, text: str) -> None:
    """Open it, until `text` is to be read, and nothing lies over it."""
    page.open(address)
    page.wait_for(text)
    assert "Join the Dagster community" not in page.text


def _until_it_serves(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """The listening socket appears when the code location is loaded; asking again is all one can do until then."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            _wait_a_little(process)
    raise AssertionError(log.read_text()[-2000:])


def _wait_a_little(process: subprocess.Popen[bytes]) -> None:
    """A tenth of a second, or the end of the process."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def _dismiss_the_invitation(address: str) -> None:
    """Dagster greets the first visitor with a newsletter, over everything else."""
    body = json.dumps({"query": "mutation { setNuxSeen }"}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer) == {"data": {"setNuxSeen": True}}
