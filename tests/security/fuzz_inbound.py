"""What whoever is outside, or runs this, writes: requests as JSON and CSV, parameters, and published weights."""

from __future__ import annotations

import csv
import io
import json
import marshal
import math
import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml
from safetensors import deserialize

from tests.security import corpora_tensors, mutations
from tests.security.fuzz_door import Door, spelled
from tests.security.mutations import octets
from tests.toy_batch import request_body
from unlearning import tensor_files, yaml_text
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.requests import schema, tabular

ROOT = Path(__file__).resolve().parents[2]


# Requests: one JSON object, a line each, or CSV


def _bodies() -> list[dict[str, Any]]:
    by: list[dict[str, Any]] = [
        {"sample_key": "img-000017"},
        {"content_sha256": "ab" * 32},
        {"pixel_sha256": "0" * 64},
        {"subject": "J\u00f8rgen \u4e2d"},
        {"class": "3", "approved_by": "privacy-officer"},
        {"near_duplicate_of": "img-1"},
    ]
    near = {"mode": "report", "method": "perceptual", "threshold": 6, "max_expand": 50}
    cosine = {"mode": "include", "method": "embedding", "threshold": 0.95}
    return [
        *(request_body(selectors=[one]) for one in by[:5]),
        request_body(selectors=by, near_duplicates=near),
        request_body(
            selectors=by[::-1], near_duplicates=cosine, goal="never_seen", submitted_at="2026-11-01T09:30:00Z"
        ),
    ]


BODIES = [json.dumps(body).encode() for body in _bodies()]


def _request(rng: Random) -> tuple[str, str]:
    given = rng.choice(BODIES)
    changed = rng.random() < 0.6
    given = spelled(rng, mutations.tree(rng, json.loads(given))) if changed else octets(rng, given, BODIES)
    if rng.random() < 0.1:
        given = b"\n".join([given, rng.choice(BODIES)])
    return given.decode(errors="replace"), rng.choice((".json", ".jsonl"))


def _read_requests(given: tuple[str, str]) -> bytes:
    filed = schema.parse_all(*given, "the input")
    return b"\n".join(one.body for one in filed)


def _rows() -> list[bytes]:
    found = []
    for ending in ("\n", "\r\n"):
        sink = io.StringIO(newline="")
        rows = csv.writer(sink, lineterminator=ending)
        rows.writerow(tabular.HEADER)
        for name, value in (("subject", 'a "b", c'), ("sample_key", "img-1"), ("content_sha256", "ab" * 32)):
            body = request_body()
            rows.writerow([*(body[column] for column in tabular.REQUEST), name, value, ""])
        found.append(sink.getvalue().encode())
    return found


ROWS = _rows()
_CSV_TOKENS = (b'"', b'""', b",", b"\n", b"\r", b"\r\n", b";", b"\t", b"=1+1", b"\0", b"\xff", b"class", b"subject")


def _table(rng: Random) -> tuple[str, str]:
    return octets(rng, rng.choice(ROWS), ROWS, _CSV_TOKENS).decode(errors="replace"), ".csv"


# Parameters: the tree as YAML makes it, whole files, and the values of --set


@cache
def _params() -> tuple[dict[str, Any], list[bytes]]:
    text = (ROOT / "params.yaml").read_text()
    tree = yaml_text.parse(text)
    small = {name: tree[name] for name in ("data", "generator", "corruption")}
    return tree, [text.encode(), yaml.safe_dump(small).encode(), b"{kind: mae, width: 24}", b"8", b"[a, 'b', 1.5]"]


def _parameters(rng: Random) -> Any:
    _, texts = _params()
    which = rng.random()
    if which < 0.9:
        return mutations.tree(rng, marshal.loads(_PARAMS))
    whole = which > 0.9998  # PyYAML takes 10 ms for the whole file
    given = texts[0] if whole else rng.choice(texts[2:] if which < 0.995 else texts[1:2])
    return octets(rng, given, texts[2:]).decode(errors="replace")


def _read_params(given: Any) -> bytes:
    if isinstance(given, str):
        try:
            given = yaml_text.parse(given)
        except yaml_text.NotYaml as error:
            raise ParamsError(f"the input: {error}") from None
        tree, _ = _params()
        given = given if isinstance(given, dict) and "generator" in given else {**tree, "data": given}
    if not isinstance(given, dict):
        raise ParamsError("the input: a mapping is expected")
    if not _of_yaml(given, yaml_text.DEEPEST):
        raise ParamsError("the input: a number that is not finite, or too deep")  # as YAML's reader says before
    return json.dumps(Params.of(given, "the input").model_dump(mode="json")).encode()


def _of_yaml(tree: Any, levels: int) -> bool:
    """Whether YAML's reader could have made it."""
    layer = [tree]
    for _ in range(levels + 1):
        held = [one for one in layer if isinstance(one, dict | list)]
        if not all(math.isfinite(one) for one in layer if isinstance(one, float)):
            return False
        layer = [one for holder in held for one in (holder.values() if isinstance(holder, dict) else holder)]
    return not held


_PARAMS = marshal.dumps(yaml_text.parse((ROOT / "params.yaml").read_text()))  # a copy by it costs a third of JSON's


# Weights


_TENSORS = [
    corpora_tensors.GOOD,
    corpora_tensors.of(
        corpora_tensors.DATA * 2,
        a=corpora_tensors.F32,
        b={"dtype": "F16", "shape": [2, 2], "data_offsets": [8, 16]},
    ),
    corpora_tensors.of(b"", __metadata__={"format": "pt"}),
]


def _tensors(rng: Random) -> bytes:
    given = rng.choice(_TENSORS)
    if rng.random() < 0.3:
        return octets(rng, given, _TENSORS)
    (length,) = struct.unpack("<Q", given[:8])
    header, data = given[8 : 8 + length], given[8 + length :]
    changed = rng.random() < 0.7
    header = spelled(rng, mutations.tree(rng, json.loads(header))) if changed else octets(rng, header, [header])
    return corpora_tensors.spelled(header, data)


def _read_tensors(given: bytes) -> bytes:
    """What our reader lets through, the library reads, and the same names."""
    names = tensor_files.check(given, "the input")
    assert sorted(name for name, _ in deserialize(given)) == sorted(names), "two readers of one header"
    return given


DOORS = (
    Door("request", _request, _read_requests, lambda kept: (kept.decode(), ".jsonl")),
    Door("csv", _table, _read_requests, lambda kept: (kept.decode(), ".jsonl")),
    Door("params", _parameters, _read_params, json.loads),
    Door("safetensors header", _tensors, _read_tensors),
)
