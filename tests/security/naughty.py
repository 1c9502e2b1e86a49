"""Every string of the corpus in every field of a request, through every door, into every place where text ends up.

A string comes out as it went in, letter for letter, or it is refused by type, in one line that does not repeat it.
`rows()` counts what was tried, refused, kept, and whatever else happened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.security.corpora_strings import ALL
from tests.toy_batch import request_body, request_id
from unlearning.errors import UnlearningError
from unlearning.requests import schema, tabular
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import Filed
from unlearning.requests.tabular import SELECTORS

Row = dict[str, Any]
Body = dict[str, Any]
REQUEST = ("schema", "request_id", "controller_id", "goal", "regulation", "kind", "submitted_at", "dataset")
FIELDS = (*REQUEST, *SELECTORS, "approved_by", "near.mode", "near.method", "a key", "a selector's key")
_LONG = 4_097  # characters above which one of each field is enough
_LONGEST_QUOTED = 80  # characters of a key's name that a refusal may quote, to whoever wrote it


@dataclass
class Tally:
    """What became of the strings at one door or in one place."""

    row: str
    refused: int = 0
    kept: int = 0
    odd: list[str] = field(default_factory=list)

    def tried(self, text: str, where: str, hand_in: Callable[[], object]) -> None:
        """`hand_in` gives True where the text came out as it went in; a typed refusal is well, too."""
        try:
            same = hand_in()
        except UnlearningError as error:
            problem = _repeats(str(error), text)
            self.refused += problem is None
        except BaseException as error:  # whatever it is, it is no typed refusal
            problem = f"{type(error).__name__}: {error}"[:160]
        else:
            problem = None if same is True else "something else came out"
            self.kept += problem is None
        if problem is not None:
            self.odd.append(f"{where} {text[:40]!r}: {problem}")

    @property
    def as_row(self) -> Row:
        """For the table."""
        counts = {"refused": self.refused, "kept": self.kept, "other": len(self.odd)}
        return {"row": self.row, "tried": sum(counts.values()), **counts, "odd": self.odd[:20]}


def _repeats(sentence: str, text: str) -> str | None:
    """What is wrong with a refusal, if anything: it is one line, and no long text stands in it whole."""
    if not sentence.isprintable() or not 0 < len(sentence) < 2_000:
        return "a refusal that is no line"
    return "a refusal that repeats it" if len(text) > _LONGEST_QUOTED and repr(text)[1:-1] in sentence else None


def body(text: str, where: str, number: int = 1) -> Body:
    """A valid request, but for the text in one field."""
    made = request_body(request_id=request_id(number), selectors=[{"subject": "a"}])
    if where in REQUEST:
        made[where] = text
    elif where in SELECTORS:
        made["selectors"] = [{where: text, **({"approved_by": "privacy-officer"} if where == "class" else {})}]
        made["near_duplicates"] = {"mode": "report"}
    elif where == "approved_by":
        made["selectors"] = [{"class": "star", "approved_by": text}]
    elif where.startswith("near."):
        made["near_duplicates"] = {"mode": "report", where.removeprefix("near."): text}
    elif where == "a key":
        made[text] = "x"
    else:
        made["selectors"] = [{text: "x"}]
    return made


def found(made: Any, where: str) -> str | None:
    """The text that a validated request holds in that field."""
    if where in REQUEST:
        return str(getattr(made, "schema_" if where == "schema" else where))
    if where in SELECTORS:
        return str(made.selectors[0].value) if made.selectors[0].by == where else None
    if where == "approved_by":
        return made.selectors[0].approved_by  # type: ignore[no-any-return]
    return str(getattr(made.near_duplicates, where.removeprefix("near."))) if where.startswith("near.") else None


def cases(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(text, field); a text that is far too long for any is tried in three."""
    for text in texts:
        yield from ((text, where) for where in (FIELDS if len(text) < _LONG else ("subject", "dataset", "a key")))


def filed(texts: Sequence[str]) -> list[tuple[str, str, Filed]]:
    """Every case that the schema takes, numbered."""
    taken = []
    for number, (text, where) in enumerate(cases(texts), 1):
        try:
            taken.append((text, where, schema.parse(json.dumps(body(text, where, number)), "here")))
        except UnlearningError:
            continue
    return taken


def as_json(texts: Sequence[str]) -> Row:
    """One object a file, escaped or not: both are one text, or neither is."""
    tally = Tally("request as JSON")
    for text, where in cases(texts):
        made = body(text, where)
        tally.tried(text, where, lambda m=made, t=text, w=where: _same(json.dumps(m), ".json", t, w))
        if text.isascii() or not _spelled_out(text):
            continue
        tally.tried(
            text, where, lambda m=made, t=text, w=where: _same(json.dumps(m, ensure_ascii=False), ".json", t, w)
        )
    return tally.as_row


def _same(content: str, suffix: str, text: str, where: str) -> bool:
    (one,) = schema.parse_all(content, suffix, "here")
    again = schema.parse(one.body.decode(), "again")
    return found(one.request, where) == text and again == one


def as_lines(texts: Sequence[str]) -> Row:
    """A line among others: a text that breaks a line would make two of it."""
    tally = Tally("request as JSON Lines")
    neighbour = json.dumps(body("before", "subject", 9))
    for text, where in cases(texts):
        line = json.dumps(body(text, where), ensure_ascii=not _spelled_out(text))
        content = f"{neighbour}\n{line}\n{neighbour}\n"
        tally.tried(text, where, lambda c=content, t=text, w=where: _between(c, t, w))
    return tally.as_row


def _between(content: str, text: str, where: str) -> bool:
    first, one, last = schema.parse_all(content, ".jsonl", "here")
    return found(one.request, where) == text and first == last


def _spelled_out(text: str) -> bool:
    """Whether UTF-8 can say it."""
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in text)


def as_csv(texts: Sequence[str]) -> Row:
    """A cell of its column, in quotes or bare: as JSON would have it, or refused."""
    tally = Tally("request as CSV")
    for text, where in cases(texts):
        if where in ("schema", "near.mode", "near.method", "a key") or not _spelled_out(text):
            continue
        if text == "" and where in ("dataset", "approved_by"):
            continue  # an empty cell there says nothing, as the format has it
        quoted = f'"{text.replace(chr(34), chr(34) * 2)}"'
        tally.tried(text, where, lambda c=quoted, t=text, w=where: _cell(c, t, w))
        bare = not set(text) & set('",\r\n')  # RFC 4180, section 2: else it is several cells, or another one
        tally.tried(text, where, lambda t=text, w=where, b=bare: _cell(t, t, w) or not b)
    return tally.as_row


def _cell(cell: str, text: str, where: str) -> bool:
    """Whether a row that holds the text in one cell is read as the request that JSON makes of it."""
    made = body("a", "subject")
    cells = {**{name: made[name] for name in tabular.REQUEST}, "selector": "subject", "value": "a", "approved_by": ""}
    if where in tabular.REQUEST:
        cells[where] = cell
    elif where in SELECTORS:
        cells |= {"selector": where, "value": cell, "approved_by": "privacy-officer" if where == "class" else ""}
    elif where == "approved_by":
        cells |= {"selector": "class", "value": "star", "approved_by": cell}
    else:
        cells["selector"] = cell
    row = ",".join(str(cells[name]) for name in tabular.HEADER)
    (one,) = schema.parse_all(f"{','.join(tabular.HEADER)}\r\n{row}\r\n", ".csv", "here")
    if where == "a selector's key":
        return one.request.selectors[0].by == text
    return found(one.request, where) == text


def as_file(texts: Sequence[str]) -> Row:
    """Files of an inbox, a request each, named by the text where a file system can: filed whole, or set aside."""
    from unlearning.verbs import intake
    from unlearning.workspace import Workspace

    tally = Tally("file in the inbox, and its name")
    with tempfile.TemporaryDirectory(prefix="naughty-") as home:
        workspace = Workspace(Path(home) / "var")
        box = workspace.root / "inbox"
        box.mkdir(parents=True)
        taken = {text: one for text, where, one in filed(texts) if where == "subject"}
        put = [_put(box, text, taken.get(text), number) for number, text in enumerate(texts)]
        told = intake.take_in(workspace, settle_s=0)
        bodies = {entry.body for entry in Ledger(workspace.ledger).entries()}
        names = [path.name for path in Path(home).rglob("*")]
    for text, path in zip(texts, put, strict=True):
        if path is None:
            tally.refused += 1  # no file can be called so
        else:
            one = taken.get(text)
            tally.tried(text, "subject", lambda o=one: o is None or o.body.decode() in bodies)
    stems = [path.stem for path in put if path is not None and len(path.stem) > 8]
    tally.odd += [f"{name!r} is a name" for name in names if any(stem in name for stem in stems)]
    if told.waiting or len(told.refused) + len(told.files) != sum(path is not None for path in put):
        tally.odd.append(f"{len(told.files)} files taken, {len(told.refused)} set aside, {told.waiting} waiting")
    return tally.as_row


def _put(box: Path, text: str, one: Filed | None, number: int) -> Path | None:
    """A file called by the text; its request where there is one, else something that is none."""
    if "/" in text or text.startswith("."):
        return None
    path = box / f"{text}-{number}.json"
    try:
        path.write_bytes(one.body if one is not None else b"{}")
    except (OSError, ValueError):
        return None
    return path


def in_the_ledger(texts: Sequence[str], place: str) -> Row:
    """What is filed comes back; what is asked for by a text that was never filed is not there; codes are codes."""
    tally, ledger = Tally(f"ledger, {place.partition(':')[0] if '://' in place else 'SQLite'}"), Ledger(place)
    taken = filed(texts)
    ledger.add([one for _, _, one in taken])
    kept = {entry.request_id: entry for entry in ledger.entries()}
    for text, where, one in taken:
        entry = kept[one.request.request_id]
        whole = entry.body.encode() == one.body and entry.digest == one.digest
        tally.tried(text, where, lambda e=entry, w=whole, t=text, f=where: w and found(e.request, f) == t)
    entry = ledger.entries()[0]
    names = (entry.controller_id, entry.request_id)
    for text in texts:
        tally.tried(text, "id", lambda t=text: ledger.find(t) == [] or t in kept)
        tally.tried(text, "batch", lambda t=text: ledger.listed(batch=t) == [] == ledger.listed(model=t))
        tally.tried(text, "reason", lambda t=text: _told(ledger, names, t))
        tally.tried(text, "proposal", lambda t=text: _approved(ledger, entry, t))
    return tally.as_row


def _told(ledger: Ledger, names: tuple[str, str], reason: str) -> bool:
    """A hold with that reason, ended again."""
    ledger.hold(*names, reason)
    ledger.release(*names, "hold_ended")
    (entry,) = ledger.find(names[1])
    return ledger.events(entry)[-2].reason == reason


def _approved(ledger: Ledger, entry: Any, text: str) -> bool:
    ledger.approve(entry, "near_duplicates", text, "privacy-officer")
    return ("near_duplicates", text) in ledger.approved(entry)


def rows(texts: Iterable[str] = ALL) -> list[Row]:
    """All of it: the doors, the ledger, and every place that shows or keeps a text."""
    from tests.security import naughty_sinks  # here: it draws its requests from this file

    chosen = list(texts)
    with tempfile.TemporaryDirectory(prefix="naughty-") as home:
        told = [as_json(chosen), as_lines(chosen), as_csv(chosen), as_file(chosen)]
        told.append(in_the_ledger(chosen, str(Path(home) / "ledger.sqlite")))
        return [*told, *naughty_sinks.rows(chosen, Path(home))]
