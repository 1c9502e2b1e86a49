"""After a whole run, nothing outside the vault says who was forgotten, or shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security import canaries
from unlearning.data import scanning
from unlearning.log import silent


@pytest.fixture(scope="module")
def ran(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> canaries.Ran:
    return canaries.run(repository, tmp_path_factory.mktemp("canary"))


def test_every_sink_was_written_to(ran: canaries.Ran) -> None:
    found = canaries.sinks(ran)
    assert {"mlflow", "openlineage", "batches", "models", "Dagster"} <= found.keys()
    assert (ran.home / "var" / "batches" / "b1" / "certificate" / "certificate.json").is_file()


def test_the_canaries_are_where_they_may_be(ran: canaries.Ran) -> None:
    """A search that finds nothing shows something only if it finds what is there."""
    ledger = canaries.readable(ran.home / "var" / "ledger.sqlite")
    assert {name for name in ("subject", "class", "key") if ran.words[name] in ledger} == {"subject", "class", "key"}
    stored = scanning.scan([ran.home / "var" / "data"], ran.gone, silent)
    assert len(stored.hits) == 1


def test_no_canary_is_seen_outside_the_vault(ran: canaries.Ran) -> None:
    assert not canaries.hits(ran)
