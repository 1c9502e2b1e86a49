"""Lineage events: inputs and outputs of every asset, nothing that names anybody, and no run that they can break."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipelines import openlineage
from tests.toy_batch import certified
from unlearning.data import manifest
from unlearning.errors import ManifestError
from unlearning.evidence import bundle, lineage, promotion
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder

RUN = "0192c1f0-7f3e-7c11-9d6e-3a0c51f1a001"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Params, BatchFolder]:
    return certified(tmp_path_factory.mktemp("lineage"), repository)


@pytest.fixture(autouse=True)
def fresh(whole: tuple[Params, BatchFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    openlineage.file(whole[1].workspace).unlink(missing_ok=True)
    monkeypatch.setattr(openlineage, "_silent", set())


def tell(whole: tuple[Params, BatchFolder], *names: str) -> list[str]:
    """As each asset is made; what was complained of."""
    params, batch = whole
    said = list[str]()
    for name in names:
        with openlineage.telling(STAGES[name], params, batch, RUN, said.append) as lines:
            lines.made(lineage.read(batch, name), False)
    return said


def events(batch: BatchFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in openlineage.file(batch.workspace).read_bytes().splitlines()]


def test_the_graph_is_that_of_the_stages_and_every_version_is_the_recorded_one(
    whole: tuple[Params, BatchFolder],
) -> None:
    params, batch = whole
    assert tell(whole, *STAGES) == []
    told = [event for event in events(batch) if event["eventType"] == "COMPLETE"]
    short = {f"{params.model.name}/b1/{name}": name for name in STAGES} | {"data/toys": "image_dataset"}
    graph = {
        short[event["outputs"][0]["name"]]: sorted(short[one["name"]] for one in event["inputs"]) for event in told
    }
    assert graph == {name: sorted(stage.inputs) for name, stage in STAGES.items()}
    for event in told:
        record = lineage.read(batch, short[event["outputs"][0]["name"]])
        versions = {short[one["name"]]: one["facets"]["version"]["datasetVersion"] for one in event["inputs"]}
        assert versions == {name: f"sha256:{sha256}" for name, sha256 in record.inputs.items()}
        assert event["outputs"][0]["facets"]["version"]["datasetVersion"] == f"sha256:{record.sha256}"
        assert event["run"]["facets"]["unlearning"]["params_sha256"] == record.params_sha256


def test_a_promotion_goes_from_certificate_and_checkpoint_to_the_champion(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    now = promotion.Champion(1, "models/x/versions/1", "c" * 64, "b1", "d" * 64, None)
    openlineage.promoted(params, batch, now, RUN, pytest.fail)
    (event,) = events(batch)
    name = params.model.name
    assert [one["name"] for one in event["inputs"]] == [f"{name}/b1/certificate", f"{name}/b1/unlearned_checkpoint"]
    assert event["outputs"][0]["name"] == f"{name}/champion"
    assert event["outputs"][0]["facets"]["version"]["datasetVersion"] == f"sha256:{'c' * 64}"
    assert event["job"]["name"] == f"{name}.model_promotion"


def test_the_signed_bundle_is_named_by_its_index(
    whole: tuple[Params, BatchFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, batch = whole
    now = promotion.Champion(1, "models/x/versions/1", "c" * 64, "b1", "d" * 64, None)
    assert tell(whole, "evaluation_report", "certificate") == []
    openlineage.promoted(params, batch, now, RUN, pytest.fail)
    told = [one["run"]["facets"]["unlearning"].get("bundle_index_sha256") for one in events(batch)]
    last = bundle.of_batch(batch).lines[-1]
    assert told == [None, None, None, last.sha256, last.sha256]
    monkeypatch.setattr(bundle, "file", lambda batch: batch.path / "not signed yet")
    tell(whole, "certificate")
    assert events(batch)[-1]["run"]["facets"]["unlearning"].get("bundle_index_sha256") is None


def test_an_event_is_what_the_standard_asks(whole: tuple[Params, BatchFolder]) -> None:
    tell(whole, "retain_proxy_set")
    start, complete = events(whole[1])
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["job"] == complete["job"]
    for event in (start, complete):
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-")
        assert event["schemaURL"].endswith("#/$defs/RunEvent")
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert UUID(event["run"]["runId"])
        assert event["producer"]
        assert event["run"]["facets"]["parent"]["run"]["runId"] == RUN
        for one in (event["job"], *event["inputs"], *event["outputs"]):
            assert one["namespace"]
            assert one["name"]
        for facet in _facets(event):
            assert facet["_producer"]
            assert facet["_schemaURL"]


def _facets(tree: Any) -> Iterator[dict[str, Any]]:
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == "facets":
            yield from value.values()
        for one in value if isinstance(value, list) else [value]:
            yield from _facets(one)


def test_nothing_in_an_event_names_anybody(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    tell(whole, *STAGES)
    with (
        pytest.raises(ManifestError),
        openlineage.telling(STAGES["unlearned_checkpoint"], params, batch, RUN, lambda _: None),
    ):
        raise ManifestError("forget and retain share 3 keys (first: 'img-000017')")
    written = openlineage.file(batch.workspace).read_text()
    forget = manifest.read(batch.forget)
    names = {value for column in ("key", "subject", "shard") for value in forget[column].to_pylist()}
    names |= {one for each in forget["requests"].to_pylist() for one in each}
    assert not [name for name in names if f'"{name}"' in written or f"{name}/" in written]
    assert "img-000017" not in written
    assert str(batch.workspace.root) not in written
    allowed = {"parent", "unlearning", "version"}
    assert {name for event in events(batch) for name in _facet_names(event)} == allowed
    *_, failed = events(batch)
    assert (failed["eventType"], failed["run"]["facets"]["unlearning"]["failure"]) == ("FAIL", "ManifestError")


def _facet_names(tree: Any) -> Iterator[str]:
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == "facets":
            yield from value
        for one in value if isinstance(value, list) else [value]:
            yield from _facet_names(one)


def test_a_file_that_cannot_be_written_is_said_and_breaks_nothing(
    whole: tuple[Params, BatchFolder],
) -> None:
    path = openlineage.file(whole[1].workspace)
    path.mkdir(parents=True)
    try:
        said = tell(whole, "retain_proxy_set")
    finally:
        path.rmdir()
    assert len(said) == 2
    assert all(re.search(r"was not told \(IsADirectoryError\); the run goes on", one) for one in said)


def test_half_a_line_of_a_killed_process_costs_no_other(whole: tuple[Params, BatchFolder]) -> None:
    path = openlineage.file(whole[1].workspace)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'{"eventType": "STA')
    tell(whole, "retain_proxy_set")
    torn, *lines = path.read_bytes().splitlines()
    assert torn == b'{"eventType": "STA'
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]


@pytest.fixture
def server() -> Iterator[tuple[HTTPServer, list[dict[str, Any]]]]:
    """A lineage server that answers 201, on a port of its own."""
    got = list[dict[str, Any]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving, got
        serving.shutdown()
        thread.join()


def test_a_server_is_sent_what_the_file_has(
    whole: tuple[Params, BatchFolder],
    server: tuple[HTTPServer, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving, got = server
    monkeypatch.setenv("UNLEARNING_OPENLINEAGE_URL", f"http://127.0.0.1:{serving.server_port}")
    assert tell(whole, "retain_proxy_set", "certificate") == []
    assert got == events(whole[1])


def test_a_server_that_is_away_is_asked_once_and_the_file_has_everything(
    whole: tuple[Params, BatchFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNING_OPENLINEAGE_URL", "http://127.0.0.1:9")
    said = tell(whole, "retain_proxy_set", "certificate")
    assert len(said) == 1
    assert [event["eventType"] for event in events(whole[1])] == ["START", "COMPLETE"] * 2
