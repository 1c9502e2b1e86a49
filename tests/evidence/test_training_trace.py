"""The chain of a training's steps, against its formula written out by hand; read and checked without torch."""

from __future__ import annotations

import hmac
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from unlearning import files, trace_rows
from unlearning.errors import EvidenceError
from unlearning.evidence import training_trace
from unlearning.trace_rows import Part, Row

MACHINE = {"device": "cpu", "torch": "2.13.0", "python": "3.11.7", "deterministic": True, "processes": 1}
WEIGHTS = b"weights"


def _row(step: int) -> Row:
    return Row(step, sha256(b"f%d" % step).digest(), sha256(b"r%d" % step).digest(), 1 / step, 0.5, 2.0)


def _part(name: str, steps: int, first: int = 0, states: dict[int, Path] | None = None) -> Part:
    rows = b"".join(_row(step).packed() for step in range(first + 1, first + steps + 1))
    return Part(name, {"schema": trace_rows.SCHEMA, "part": name, "budget": {"steps": steps}}, rows, states or {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two parts, the second with a kept state."""
    home, state = tmp_path / "checkpoint", tmp_path / "state"
    home.mkdir()
    (home / "model.safetensors").write_bytes(WEIGHTS)
    state.write_bytes(b"state")
    parts = [_part("first_stage", 3), _part("model", 200, states={100: state})]
    training_trace.write(home, parts, MACHINE, sha256(WEIGHTS).hexdigest())
    return home


def _problems(folder: Path) -> list[str]:
    found = training_trace.read(folder)
    assert found is not None
    return training_trace.problems(found, folder)


def test_a_row_is_96_bytes_in_the_order_that_is_written_down() -> None:
    row = _row(3)
    assert row.packed() == struct.pack(">Q", 3) + row.forget + row.retain + struct.pack(">ddd", 1 / 3, 0.5, 2.0)
    assert len(row.packed()) == trace_rows.BYTES
    assert Row.parsed(row.packed()) == row


def test_the_chain_is_its_formula(folder: Path) -> None:
    told = json.loads((folder / "trace.json").read_bytes())
    rows, done = (folder / "trace.rows").read_bytes(), 0
    for part in told["parts"]:
        h = sha256(files.canonical(part["start"])).digest()
        for _ in range(part["steps"]):
            h, done = sha256(h + rows[96 * done : 96 * (done + 1)]).digest(), done + 1
        assert part["root"] == h.hex()
    assert told["root"] == told["parts"][1]["root"]
    assert told["parts"][1]["start"]["after"] == told["parts"][0]["root"]
    assert [mark["step"] for mark in told["parts"][1]["marks"]] == list(range(0, 201, 4))
    assert (told["steps"], told["every"]) == (203, 4)


def test_tokens_are_keyed_by_the_whole_of_the_run_s_images() -> None:
    one, two, three = (sha256(name).hexdigest() for name in (b"one", b"two", b"three"))
    sets = [sha256(b"".join(sorted(map(bytes.fromhex, some)))).digest() for some in ([one], [two, three])]
    key = sha256(b"unlearning/training-trace-key/1" + sets[0] + sets[1]).digest()
    assert trace_rows.run_key(([one], [three, two, two])) == key
    assert trace_rows.run_key(([one], [two])) != key
    assert trace_rows.tokens(key, [two]) == [hmac.digest(key, bytes.fromhex(two), "sha256")]
    assert trace_rows.key_id(key) == sha256(b"unlearning/training-trace-key-id/1" + key).hexdigest()


def test_a_batch_is_what_it_holds_whatever_its_order() -> None:
    a, b = bytes(32) + b"\0", bytes(32) + b"\1"
    assert trace_rows.of_batch("forget", [b, a]) == sha256(b"forget" + (2).to_bytes(8, "big") + a + b).digest()
    assert trace_rows.of_batch("forget", [a, b]) == trace_rows.of_batch("forget", [b, a])
    assert len({trace_rows.of_batch(name, some) for name in ("forget", "retain") for some in ([a], [a, a], [])}) == 6


def test_a_set_is_its_rows_and_its_distinct_tokens() -> None:
    a, b = bytes(32), b"\1" * 32
    assert trace_rows.of_set([b, a, b]) == {"images": 3, "tokens_sha256": sha256(a + b).hexdigest()}


def test_what_was_written_holds(folder: Path) -> None:
    assert _problems(folder) == []
    assert training_trace.read(folder.parent) is None
    (folder / "trace" / "model" / "state-00000100.safetensors").unlink()  # as a purge does
    (folder / "model.safetensors").unlink()
    assert _problems(folder) == []


def _changed(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        if name == "trace.rows":
            content = bytearray((folder / name).read_bytes())
            change(content)
            (folder / name).write_bytes(content)
        else:
            tree = files.read_json(folder / name)
            change(tree)
            files.write_json(folder / name, tree)

    return write


def _swap(rows: bytearray) -> None:
    rows[96 * 10 : 96 * 11], rows[96 * 11 : 96 * 12] = rows[96 * 11 : 96 * 12], rows[96 * 10 : 96 * 11]


def _finite_no_more(rows: bytearray) -> None:
    rows[96 * 4 - 24 : 96 * 4 - 16] = struct.pack(">d", float("inf"))


def _flip(place: int) -> Callable[[bytearray], None]:
    def flip(rows: bytearray) -> None:
        rows[place] ^= 1

    return flip


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "steps swapped": (_changed("trace.rows", _swap), "model: step 9 stands where another one is right"),
    "a loss changed": (
        _changed("trace.rows", _flip(96 * (3 + 57) + 75)),
        "model: the chain breaks between step 56 and step 60",
    ),
    "the last loss changed": (_changed("trace.rows", _flip(96 * 203 - 20)), "model: the chain breaks between step 196"),
    "a loss that is none": (_changed("trace.rows", _finite_no_more), "model: step 1 has a number that is not finite"),
    "the beginning changed": (
        _changed("trace.json", lambda tree: tree["parts"][1]["start"].update(budget={"steps": 201})),
        "model: the chain breaks at its start",
    ),
    "a root changed": (
        _changed("trace.json", lambda tree: tree["parts"][0].update(root="ab" * 32)),
        "first_stage: the chain breaks after its last mark",
    ),
    "the whole root changed": (
        _changed("trace.json", lambda tree: tree.update(root="ab" * 32)),
        "steps and root are not those of its parts",
    ),
    "parts that do not follow": (
        _changed("trace.json", lambda tree: tree["parts"][1]["start"].update(after=None)),
        "model: does not begin with the root of the part before it",
    ),
    "another first step": (
        _changed("trace.json", lambda tree: tree["parts"][1].update(first=7)),
        "model: begins after step 7, and what it is a function of says 0",
    ),
    "a mark left out": (
        _changed("trace.json", lambda tree: tree["parts"][1]["marks"].pop(3)),
        "model: its marks are not every 4 steps",
    ),
    "other weights": (
        lambda folder: files.write_bytes(folder / "model.safetensors", b"x"),
        "is about other weights than model.safetensors",
    ),
    "another state": (
        lambda folder: files.write_bytes(folder / "trace" / "model" / "state-00000100.safetensors", b"x"),
        "trace/model/state-00000100.safetensors: not the state that the trace names",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_was_changed_is_named(how: str, folder: Path) -> None:
    change, sentence = BROKEN[how]
    change(folder)
    found = _problems(folder)
    assert any(sentence in problem for problem in found), found


UNREADABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no rows": (lambda folder: (folder / "trace.rows").unlink(), "half a training trace"),
    "no record": (lambda folder: (folder / "trace.json").unlink(), "half a training trace"),
    "no JSON": (lambda folder: files.write_bytes(folder / "trace.json", b"{"), "half a training trace"),
    "a row too many": (
        _changed("trace.rows", lambda rows: rows.extend(bytes(96))),
        "204 rows, and trace.json tells of 203",
    ),
    "half a row": (_changed("trace.rows", lambda rows: rows.__delitem__(slice(-1, None))), "tells of 203 of 96 bytes"),
    "another schema": (
        _changed("trace.json", lambda tree: tree.update(schema="training-trace/2")),
        "not a training-trace/1: schema",
    ),
    "a name more": (_changed("trace.json", lambda tree: tree.update(more=1)), "not a training-trace/1: more"),
    "a part that is a path": (
        _changed("trace.json", lambda tree: tree["parts"][1].update(part="../../x")),
        "not a training-trace/1: parts.1.part",
    ),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_what_is_no_trace_is_refused(how: str, folder: Path) -> None:
    change, sentence = UNREADABLE[how]
    change(folder)
    with pytest.raises(EvidenceError, match=sentence):
        training_trace.read(folder)


def test_it_is_checked_where_there_is_no_torch(folder: Path) -> None:
    script = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
from unlearning.evidence import training_trace
from unlearning.verbs import _traces, verify
folder = Path({str(folder)!r})
assert training_trace.problems(training_trace.read(folder), folder) == []
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_after_two_others_and_two_states_of_one_part(tmp_path: Path) -> None:
    home, state = tmp_path / "checkpoint", tmp_path / "state"
    home.mkdir()
    state.write_bytes(b"state")
    parts = [_part("one", 3), _part("two", 4, states={1: state, 3: state}), _part("three", 5)]
    training_trace.write(home, parts, MACHINE, sha256(WEIGHTS).hexdigest())
    found = training_trace.read(home)
    assert found is not None
    assert [[row.step for row in rows] for rows in found.rows] == [[*range(1, n + 1)] for n in (3, 4, 5)]
    assert (found.told.every, found.told.steps) == (1, 12)  # every step of a short training is marked
    assert [one.step for one in found.told.parts[1].states] == [1, 3]
    assert training_trace.problems(found, home) == []
    with pytest.raises(ValueError, match="zip"):
        training_trace.problems(training_trace.Trace(found.told, found.rows[:2]), home)


def test_what_a_part_says_of_its_beginning_is_shown_and_not_at_any_length(folder: Path) -> None:
    _changed("trace.json", lambda tree: tree["parts"][0]["start"].update(first="x" * 30))(folder)
    assert _problems(folder)[0] == (
        f"trace.json first_stage: begins after step 0, and what it is a function of says {'x' * 20}"
    )
