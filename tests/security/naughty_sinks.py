"""Where text ends up: HTTP, resolution, manifests, pages, logs, names of files and batches, Dagster, lineage events.

A page is parsed again: whatever the text, it has the same elements and attributes, and the text stands in it as text.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from fastapi.testclient import TestClient

from pipelines import metadata
from pipelines.intake.app import create_app
from pipelines.lineage_events import MadeFacet, Making, RunState, event
from pipelines.tracking import Subject
from tests.evaluation.tiny_report import report
from tests.evidence import bundles
from tests.security.naughty import Row, Tally, body, cases, filed
from tests.toy_batch import toy_params
from unlearning import log
from unlearning.data import index, manifest
from unlearning.errors import UnlearningError, printable
from unlearning.evidence import bundle_page, bundle_verification, trust
from unlearning.evidence.lineage import Record
from unlearning.report import page
from unlearning.report.page import Aside
from unlearning.requests import resolution, schema
from unlearning.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
_STRAIGHT = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_LONG = 4_097  # characters: a page of a megabyte shows nothing that one of four kilobytes does not


def over_http(texts: Sequence[str], home: Path) -> list[Row]:
    """As the body of a call, and as parts of an address: an answer of ours, never 500, and nothing said back."""
    bodies, addresses = Tally("HTTP, body"), Tally("HTTP, address")
    app = create_app(Workspace(home / "http"), open_door=True)
    with TestClient(app, raise_server_exceptions=False) as door:
        for number, (text, where) in enumerate(cases(texts), 1):
            content = json.dumps(body(text, where, number))
            bodies.tried(text, where, lambda c=content, t=text: _filed(door.post("/v1/requests", content=c), c, t))
        for text in texts:
            if len(text) < _LONG:
                spelled = quote(text.encode(errors="surrogatepass"), safe="")
                for address in _addresses(spelled):
                    addresses.tried(text, address[:20], lambda a=address, t=text: _answered(door.get(a), t))
    return [bodies.as_row, addresses.as_row]


def _addresses(spelled: str) -> Iterator[str]:
    yield f"/v1/requests/shop-1/{spelled}"
    yield f"/v1/requests/{spelled}/11111111-1111-4111-8111-111111111111"
    yield from (f"/v1/requests?{name}={spelled}" for name in ("state", "batch", "model", "limit"))


class _Said(UnlearningError):
    """An answer that refuses."""


def _filed(answer: Any, content: str, text: str) -> bool:
    if answer.status_code == 201:
        said = answer.json()
        made = schema.parse(content, "here")
        return bool(said["digest"] == made.digest and said["controller_id"] == made.request.controller_id)
    return _answered(answer, text, (409, 422))


def _answered(answer: Any, text: str, statuses: Sequence[int] = (200, 400, 404, 405, 409, 422)) -> bool:
    """A list of nothing, or one of our own sentences: a text of some length is not said back."""
    if answer.status_code not in statuses:
        raise AssertionError(f"{answer.status_code}: {answer.text[:80]}")
    if answer.status_code == 200:
        return isinstance(answer.json(), list)
    said = answer.json()["detail"]
    if len(text) > 7 and text in said and text not in _OURS:
        raise AssertionError(f"said back: {said[:80]}")
    raise _Said(said)


_OURS = frozenset({"undefined", "constructor", "requests", "2026-11-01"})


def resolved(texts: Sequence[str], home: Path) -> list[Row]:
    """A selector finds the row that is called so, and no other: no case, form or prefix is taken for another."""
    tally, stored = Tally("resolution"), Tally("manifest")
    taken = [one for one in filed(texts) if one[1] in ("sample_key", "subject", "class", "near_duplicate_of")]
    names = sorted({text for text, _, _ in taken})
    rows = _index(names)
    for (text, where, _), found in zip(taken, resolution.resolve([f.request for _, _, f in taken], rows), strict=True):
        tally.tried(text, where, lambda f=found, t=text: [names[row] for row in f.selected] == [t])
    path = home / "naughty.parquet"
    manifest.write(path, rows)
    again = {row["key"]: row for row in manifest.read(path).to_pylist()}
    for name in names:
        same = name in again and again[name]["class"] == again[name]["subject"] == name
        stored.tried(name, "key, class, subject", lambda s=same: s)
    return [tally.as_row, stored.as_row]


def _index(names: Sequence[str]) -> pa.Table:
    size = len(names)
    columns: dict[str, Any] = {field.name: [0] * size for field in index.COLUMNS}
    hashes = [f"{number:064x}" for number in range(size)]
    columns |= {"key": names, "class": names, "subject": names, "sha256": hashes, "pixel_sha256": hashes}
    columns |= {"dataset": ["toys"] * size, "shard": ["train-000000.tar"] * size, "split": ["train"] * size}
    return pa.table(columns, schema=index.COLUMNS)


class Shape(HTMLParser):
    """What a browser would make of a page: elements, names of attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements, self.text = list[tuple[str, ...]](), list[str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Its name and those of its attributes."""
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.text += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        """Text between elements."""
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        """There is none."""
        self.elements.append(("comment",))

    def handle_decl(self, decl: str) -> None:
        """The one at the top."""
        self.elements.append(("declaration", decl))


def shown(texts: Sequence[str]) -> list[Row]:
    """In a report, as the name of a class, of the model and in sentences; in a certificate's page, as its words."""
    told = []
    for row, render in (("report.html", _report), ("certificate page", _certificate)):
        tally, plain = Tally(row), Shape(render("plain"))
        assert any("plain" in text for text in plain.text)
        for text in texts:
            if len(text) < _LONG:
                tally.tried(text, "page", lambda t=text, r=render, p=plain: as_text(r(t), t, p))
        told.append(tally.as_row)
    return told


def as_text(html: str, text: str, plain: Shape) -> bool:
    html.encode()  # it can be written
    made = Shape(html)
    if made.elements != plain.elements:
        raise AssertionError("another element or attribute")
    return any(text in one for one in made.text)


def _report(text: str) -> str:
    _refuse_halves(text)
    tree = report(label=text)
    tree |= {"model": text, "criteria": [{**one, "sentence": text, "source": text} for one in tree["criteria"]]}
    return page.render(tree, Aside(code={"revision": text, "dirty": False, "source_sha256": "ef" * 32}))


def _refuse_halves(text: str) -> None:
    """report.json is canonical JSON: half a surrogate pair never gets there."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Said("half a surrogate pair") from None


def _certificate(text: str) -> str:
    """A bundle whose free words are the text, sealed, verified and shown."""
    draft = bundles.draft(5, "issued")
    for tests in draft.of("test-result/v0.1"):
        for measured in tests["measurements"]:
            measured["source"] = text
    draft.index["not_claimed"] = [text]
    draft.of("provenance/v1")[0]["buildDefinition"]["internalParameters"]["torch"] = text
    _refuse_halves(text)
    found = bundle_verification.verify(draft.sealed(), trust.read(draft.trust(), "trust"))
    return bundle_page.text(found)


def said(texts: Sequence[str]) -> list[Row]:
    """On a terminal and in a log: one line, nothing that a terminal obeys, and it can be read again."""
    answers, refusals, notes = Tally("answer of a command"), Tally("sentence of a refusal"), Tally("note of a verb")
    for text in texts:
        answers.tried(text, "value", lambda t=text: _one_line(log.spelled({"a": t})) and _again(t))
        refusals.tried(text, "quoted", lambda t=text: _one_line(str(UnlearningError(f"here: {t} is wrong"))))
        notes.tried(text, "note", lambda t=text: _noted(t))
    return [answers.as_row, refusals.as_row, notes.as_row]


def _one_line(written: str) -> bool:
    written.encode()
    return written.isprintable()


def _again(text: str) -> bool:
    back: dict[str, str] = json.loads(log.spelled({"a": text}))
    return back == {"a": text}


def _noted(text: str) -> bool:
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard):
        log.Bars()(log.Progress("train", 0, 0, note=text))
    written = heard.getvalue()
    return written.count("\n") == 1 and _one_line(written[:-1]) and printable(text) in written


def named(texts: Sequence[str], home: Path) -> list[Row]:
    """As the name of a batch, a model, a data set or a shard: a plain name, which is one part of a path, or refused."""
    tally, workspace = Tally("file names, and names of batches and models"), Workspace(home / "names")
    doors: dict[str, Callable[[str], str]] = {
        "batch": lambda text: workspace.batch(text).path.name,
        "shard": lambda text: index.shard_path(workspace, "toys", text).name,
        "data set of a shard": lambda text: index.shard_path(workspace, text, "a.tar").parents[1].name,
        "model": lambda text: toy_params(ROOT, **{"model.name": text}).model.name,
        "data": lambda text: toy_params(ROOT, **{"data.name": text}).data.name,
    }
    for text in texts:
        for where, door in doors.items() if len(text) < 70 else list(doors.items())[:3]:
            tally.tried(text, where, lambda t=text, d=door: _plain(d(t), t))
    if workspace.root.exists():
        tally.odd.append("a folder was made")
    return [tally.as_row]


def _plain(name: str, text: str) -> bool:
    return name == text and Path(name).name == name and _STRAIGHT.fullmatch(name.lower()) is not None


def told_of(texts: Sequence[str], home: Path) -> list[Row]:
    """Dagster's metadata hold what verbs counted, as text; MLflow's tags and lineage events hold plain names alone."""
    shown_there, tags = Tally("Dagster metadata"), Tally("MLflow tags and OpenLineage facets")
    workspace = Workspace(home / "told")
    for text in texts:
        shown_there.tried(text, "fact", lambda t=text: _fact(t))
        tags.tried(text, "batch", lambda t=text: _tagged(workspace.batch(t).key, t))
    return [shown_there.as_row, tags.as_row]


def _fact(text: str) -> bool:
    record = Record("forget_manifest", "b1", "k", "s", [], {}, "p", {}, "now", {"class": text, "n": {"m": 1}})
    found = metadata._counts(record)
    return found["class"].value == text[:200] and found["n.m"].value == 1


def _tagged(batch: str, text: str) -> bool:
    """Where a tag finds a run, it stands in quotes in a filter: a name that is let in has none."""
    tagged = Subject("m", "forget_manifest", batch, "k").tags["unlearning.batch"]
    made = event(Making("m", "toys", "forget_manifest", batch, "r"), RunState.START, {}, {}, MadeFacet(batch, "r"))
    facet = made.run.facets["unlearning"] if made.run.facets else None
    return tagged == text == getattr(facet, "batch", None) and not set(text) & set("'`\"\\ ")


def rows(texts: Sequence[str], home: Path) -> list[Row]:
    """A row a place."""
    found = [*over_http(texts, home), *resolved(texts, home), *shown(texts), *said(texts)]
    return [*found, *named(texts, home), *told_of(texts, home)]
