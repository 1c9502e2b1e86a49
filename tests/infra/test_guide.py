"""The operator's guide: every command in it is one that the program knows, and every path is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from unlearning.__main__ import _parser
from unlearning.settings import Settings


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "infra" / "README.md").read_text()


def _commands(guide: str) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(unlearning [a-z][^`]*--[^`]*)`", guide)
    return [shlex.split(line)[1:] for line in lines if line.startswith("unlearning ")]


def test_every_command_is_understood(guide: str) -> None:
    commands = _commands(guide)
    assert {"ingest", "request", "run", "verify", "rollback", "trace"} <= {words[0] for words in commands}
    parser = _parser(Settings())
    for words in commands:
        assert callable(parser.parse_args(words).verb), words


def test_a_command_that_is_none_would_be_noticed() -> None:
    with pytest.raises(SystemExit):
        _parser(Settings()).parse_args(["rollback", "faces-mae", "--because", "worse_quality"])


def test_every_file_that_it_links_to_is_there(guide: str, repository: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", guide)
    assert links
    assert [link for link in links if not (repository / "infra" / link).exists()] == []
