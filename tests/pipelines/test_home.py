"""Which instance a root has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import home


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "put back at the end")


def test_postgresql_takes_over_where_its_url_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home.prepare(tmp_path) / "dagster.yaml"
    assert file.read_bytes() == home.SQLITE.read_bytes()
    monkeypatch.setenv("UNLEARNING_POSTGRES_URL", "postgresql+psycopg2://host/dagster")
    assert home.prepare(tmp_path) == file.parent
    assert file.read_bytes() == home.POSTGRES.read_bytes()
    monkeypatch.delenv("UNLEARNING_POSTGRES_URL")
    home.prepare(tmp_path)
    assert file.read_bytes() == home.SQLITE.read_bytes()


def test_what_somebody_edited_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home.prepare(tmp_path) / "dagster.yaml"
    file.write_text("telemetry: {enabled: true}\n")
    monkeypatch.setenv("UNLEARNING_POSTGRES_URL", "postgresql+psycopg2://host/dagster")
    home.prepare(tmp_path)
    assert file.read_text() == "telemetry: {enabled: true}\n"
