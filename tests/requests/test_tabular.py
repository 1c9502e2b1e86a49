"""CSV gives the same requests as JSON Lines, to the byte; what is wrong is named by line and column, never shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.toy_batch import request_body, request_id
from unlearning.errors import RequestError
from unlearning.requests import schema
from unlearning.requests.tabular import HEADER

ROW = {
    **{name: value for name, value in request_body().items() if name not in ("schema", "selectors")},
    "selector": "sample_key",
    "value": "img-000017",
    "approved_by": "",
}


def written(path: Path, *rows: dict[str, Any], header: tuple[str, ...] = HEADER, line_end: str = "\r\n") -> Path:
    sink = io.StringIO()
    out = csv.DictWriter(sink, header, lineterminator=line_end)
    out.writeheader()
    out.writerows(rows)
    path.write_bytes(sink.getvalue().encode())
    return path


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_rows_of_one_request_are_one_request(tmp_path: Path, line_end: str) -> None:
    rows = [
        ROW,
        {**ROW, "request_id": request_id(2), "selector": "class", "value": "star", "approved_by": "privacy-officer"},
        {**ROW, "selector": "subject", "value": 'Ann, "the" one', "dataset": ROW["dataset"]},
        {**ROW, "request_id": request_id(3), "dataset": ""},
    ]
    found = schema.read(written(tmp_path / "r.csv", *rows, line_end=line_end))
    bodies = [
        request_body(selectors=[{"sample_key": "img-000017"}, {"subject": 'Ann, "the" one'}]),
        request_body(request_id=request_id(2)),
        request_body(request_id=request_id(3), selectors=[{"sample_key": "img-000017"}]),
    ]
    del bodies[2]["dataset"]
    assert found == [schema.parse(json.dumps(body), "here") for body in bodies]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"goal": "secret"}, r"r\.csv line 3: 'goal'"),
        ({"selector": "secret"}, r"r\.csv line 3, column selector: is none of"),
        ({"value": ""}, r"r\.csv line 3, column value: is empty"),
        ({"request_id": request_id(1), "goal": "never_seen"}, "line 3, column goal: not what line 2 says"),
        ({"submitted_at": "secret"}, r"r\.csv line 3: 'submitted_at'"),
        ({"selector": "class", "value": "secret"}, "line 3: 'selectors.0': a class selector, and no other, needs"),
    ],
)
def test_a_cell_that_is_not_right_is_named_and_not_shown(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    rows = [{**ROW, "request_id": request_id(1)}, {**ROW, "request_id": request_id(2), **changes}]
    with pytest.raises(RequestError, match=said) as refused:
        schema.read(written(tmp_path / "r.csv", *rows))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no request"),
        (",".join(HEADER), "holds no request"),
        (",".join(reversed(HEADER)), "line 1: not the header"),
        (",".join(HEADER) + "\nsecret,2\n", "line 2: has 2 cells; 10, one a column"),
        (",".join(HEADER) + '\n"secret', "line 2: not CSV"),
        (",".join(HEADER) + '\n"secret"x,' + "," * 8, "line 2: not CSV"),
    ],
)
def test_a_file_that_is_not_such_a_table_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content)
    with pytest.raises(RequestError, match=said) as refused:
        schema.read(path)
    assert "secret" not in str(refused.value)
