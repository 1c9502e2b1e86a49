"""SQL is constant text with bound parameters; and what is bound comes back letter for letter."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toy_batch import request_body, request_id
from unlearning.requests import schema
from unlearning.requests.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
SQL = sorted(ROOT.glob("unlearning/requests/*.py"))
CALLS = {"text", "execute", "exec_driver_sql", "scalar", "scalars", "executescript"}
NASTY = (
    "'; DROP TABLE requests; --",
    '" OR 1=1 --',
    "%s %(x)s :x ?",
    "\\'; --",
    "Robert'); DROP TABLE tasks;--",
    "é\u202e",
)


def pasted(tree: ast.AST) -> Iterator[int]:
    """Lines on which SQL is put together from anything but constants."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.Module):
            continue
        constants = set[str]()
        for node in ast.walk(scope):
            literal = isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple | ast.List)
            if (
                literal
                and all(isinstance(one, ast.Constant) for one in node.iter.elts)
                and isinstance(node.target, ast.Name)
            ):
                constants.add(node.target.id)
        for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ():
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if name in CALLS and node.args and not _constant(node.args[0], constants):
                yield node.lineno


def _constant(node: ast.expr, constants: set[str]) -> bool:
    if isinstance(node, ast.JoinedStr):
        named = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return all(isinstance(one, ast.Name) and (one.id.isupper() or one.id in constants) for one in named)
    if isinstance(node, ast.BinOp):
        return _constant(node.left, constants) and _constant(node.right, constants)
    formats = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("format", "join", "replace")
    return not formats


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.stem)
def test_no_sql_is_pasted_together(path: Path) -> None:
    assert list(pasted(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "call", ['text(f"SELECT {x}")', 'db.execute("SELECT %s" % x.format())', 'text("a".format(x))', 'text(f"{self.x}")']
)
def test_pasted_sql_would_be_seen(call: str) -> None:
    assert list(pasted(ast.parse(f"def f(x):\n    {call}\n"))) == [2]


def test_every_letter_comes_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    bodies = [
        request_body(request_id=request_id(n + 1), selectors=[{"subject": text}])
        for n, text in enumerate(NASTY)
        if text.isprintable()
    ]
    filed = [schema.parse(json.dumps(body), "here") for body in bodies]
    entries, fresh = ledger.take(filed, "test")
    assert fresh == len(bodies) == 5
    assert [entry.digest for entry in entries] == [one.digest for one in filed]
    assert sum(ledger.counts().values()) == 5
