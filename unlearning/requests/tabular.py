"""Deletion requests as CSV (RFC 4180, UTF-8): a selector a row; rows of the same controller and id are one request.

    request_id,controller_id,goal,regulation,kind,submitted_at,dataset,selector,value,approved_by
    1111…,shop-1,unreconstructable,gdpr,erasure,2026-11-01T09:30:00Z,digits,sample_key,img-000017,

The header is fixed, in this order. A cell of `dataset` or `approved_by` may be empty; every other holds a value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from unlearning.errors import RequestError

SELECTORS = ("sample_key", "content_sha256", "pixel_sha256", "subject", "class", "near_duplicate_of")
REQUEST = ("request_id", "controller_id", "goal", "regulation", "kind", "submitted_at", "dataset")
SELECTOR = ("selector", "value", "approved_by")
HEADER = (*REQUEST, *SELECTOR)
_MAY_BE_EMPTY = frozenset({"dataset", "approved_by"})
# RFC 4180, section 2: a quote stands around a whole cell, or twice inside of one that has them. Python's reader takes
# `a"b` as it comes, other readers take it otherwise.
_CELL = re.compile(r'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)(?:,|\r?\n|\Z)')


@dataclass(slots=True)
class _Rows:
    """One request as its rows tell it."""

    line: int  # of the first
    cells: dict[str, str]
    selectors: list[dict[str, str]] = field(default_factory=list)


def read(text: str, where: str) -> list[tuple[int, dict[str, Any]]]:
    """The requests of a CSV file, not yet validated, each with the line of its first row, in that order.

    Raises RequestError naming line and column, never a cell: it may be personal data.
    """
    found: dict[tuple[str, str], _Rows] = {}
    for line, cells in _rows(text, where):
        mine = {name: cells[name] for name in REQUEST}
        rows = found.setdefault((cells["controller_id"], cells["request_id"]), _Rows(line, mine))
        differs = next((name for name in REQUEST if rows.cells[name] != mine[name]), None)
        if differs is not None:
            raise RequestError(
                f"{where} line {line}, column {differs}: not what line {rows.line} says of the same request; rows of "
                f"one request differ in {', '.join(SELECTOR)} only"
            )
        rows.selectors.append(_selector(cells, f"{where} line {line}"))
    if not found:
        raise RequestError(f"{where}: holds no request; a row for each selector is right")
    return [(rows.line, _request(rows)) for rows in found.values()]


def _rows(text: str, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of a row's last line, and its cells by column."""
    text = text.removeprefix("\ufeff")
    _refuse_odd_quotes(text, where)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if header is None:
                header = row
                if tuple(header) != HEADER:
                    raise RequestError(f"{where} line 1: not the header of requests; {','.join(HEADER)} is right")
            elif row:
                yield reader.line_num, _cells(row, f"{where} line {reader.line_num}")
    except csv.Error:  # its message may hold a cell
        raise RequestError(
            f"{where} line {reader.line_num}: a cell is longer than any is; a cell a column is right"
        ) from None


def _refuse_odd_quotes(text: str, where: str) -> None:
    place = 0
    while place < len(text):
        cell = _CELL.match(text, place)
        if cell is None:
            raise RequestError(
                f"{where} line {text.count(chr(10), 0, place) + 1}: not CSV (RFC 4180); a cell that holds a comma, a "
                f"quote or a line break stands in quotes, and a quote in it twice"
            )
        place = cell.end()


def _cells(row: list[str], where: str) -> dict[str, str]:
    if len(row) != len(HEADER):
        raise RequestError(f"{where}: has {len(row)} cells; {len(HEADER)}, one a column, are right")
    cells = dict(zip(HEADER, row, strict=True))
    empty = next((name for name in HEADER if not cells[name] and name not in _MAY_BE_EMPTY), None)
    if empty is not None:
        raise RequestError(f"{where}, column {empty}: is empty; a value is right")
    return cells


def _selector(cells: dict[str, str], where: str) -> dict[str, str]:
    if cells["selector"] not in SELECTORS:
        raise RequestError(f"{where}, column selector: is none of {', '.join(SELECTORS)}")
    approved = {"approved_by": cells["approved_by"]} if cells["approved_by"] else {}
    return {cells["selector"]: cells["value"], **approved}


def _request(rows: _Rows) -> dict[str, Any]:
    return {**{name: value for name, value in rows.cells.items() if value}, "selectors": rows.selectors}
