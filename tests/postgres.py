"""A real PostgreSQL server for tests, thrown away afterwards: Unix socket only, nothing is synced to disk.

`bash tests/postgres_install.sh` installs one where there is none; without it these tests are skipped, and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_NEEDED = ("initdb", "pg_ctl", "postgres")
_OPTIONS = {  # a power cut may take all of it
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
}


@dataclass(frozen=True)
class Server:
    """A running server. Its folder is also where its socket lies."""

    home: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg2://postgres@/{database}?host={self.home}"

    def new_database(self) -> str:
        """The URL of a database that holds nothing yet."""
        psycopg2 = pytest.importorskip("psycopg2", reason="the driver, psycopg2, is in the pipelines group")
        name = f"empty_{next(self._numbers)}"
        connection = psycopg2.connect(host=str(self.home), user="postgres", dbname="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return self.url(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server for the whole session."""
    with running() as server:
        if server is None:
            pytest.skip("no PostgreSQL server is installed: bash tests/postgres_install.sh")
        yield server


@contextmanager
def running() -> Iterator[Server | None]:
    """A server until the block ends; None where none is installed."""
    programs = _programs()
    if programs is None:
        yield None
        return
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: the path of a socket has at most 107 letters
    try:
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        _run(programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = " ".join(f"-c {name}='{value}'" for name, value in _OPTIONS.items())
        _run(programs / "pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", f"-k {home} {options}", "start")
        try:
            yield Server(home)
        finally:
            _run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Server) -> str:
    """The URL of one database that a whole session shares."""
    return postgres_server.new_database()


@pytest.fixture
def postgres_database(postgres_server: Server) -> str:
    """The URL of a database that one test has to itself."""
    return postgres_server.new_database()


def _programs() -> Path | None:
    """The folder that holds the server's programs: of the newest version under /usr/lib/postgresql, or on PATH."""
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    places += [Path(found).resolve().parent] if found else []
    return next((place for place in places if all((place / name).is_file() for name in _NEEDED)), None)


def _run(*words: Any) -> None:
    """A program of the server, as the user `postgres` where we are root."""
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    # pg_ctl leaves the server behind, which would keep a pipe open: its words go to a file.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run([str(word) for word in words], stdout=said, stderr=said, cwd="/tmp", check=False, **user)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()
