"""YAML, JSON and CSV that explode, mean two things, or say what no reader should repeat."""

from __future__ import annotations

import json
from typing import Any

from tests.toy_batch import request_body

_LAUGHS = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
_LAUGHS += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

YAML: dict[str, str] = {
    "billion laughs": "\n".join(_LAUGHS),
    "quadratic": "a: &a [" + "x, " * 2_000 + "x]\nb: [" + "*a, " * 500 + "*a]",
    "two thousand aliases": "a: &a 1\nb: [" + "*a, " * 2_000 + "*a]",
    "alias in itself": "model: &a [*a]",
    "alias in its mapping": "model: &a {x: *a}",
    "lists 100,000 deep": "a: " + "[" * 100_000,
    "mappings 10,000 deep": "{a: " * 10_000,
    "sequences 1,000 deep": "\n".join(" " * n + "-" for n in range(1_000)),
    "two megabytes": "a: '" + "x" * 2 * 2**20 + "'",
    "python object": "a: !!python/object/apply:os.system ['touch owned']",
    "python name": "a: !!python/name:os.system",
    "python module": "!!python/module:os",
    "tag shorthand": "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system",
    "binary": "a: !!binary cGlja2xl",
    "set": "a: !!set {x, y}",
    "ordered map": "a: !!omap [x: 1]",
    "date by tag": "a: !!timestamp 2026-13-45",
    "key twice": "model: {name: a}\nmodel: {name: b}",
    "key twice by another spelling": "1: a\n0x1: b",
    "key twice in quotes": 'a: 1\n"a": 2',
    "list for a key": "? [a]\n: 1",
    "merge twice": "<<: {a: 1}\n<<: {a: 2}",
    "two documents": "a: 1\n--- \na: 2",
    "no number": "original: {learning_rate: .nan}",
    "infinite number": "original: {learning_rate: .inf}",
    "number of no digits": "a: 0b_",
    "number of 5,000 digits": "a: " + "9" * 5_000,
    "control character": "a: \x00",
    "undefined alias": "a: *nobody",
    "a list": "- a",
    "empty": "",
}

_BODY = request_body()
_PLAIN = json.dumps(_BODY)


def _with(name: str, spelled: str) -> str:
    """A valid request, one value spelled by hand."""
    return json.dumps({**_BODY, name: 0}).replace(f'"{name}": 0', f'"{name}": {spelled}')


def _near(spelled: str) -> str:
    near: Any = {"mode": "report", "threshold": 0}
    return json.dumps({**_BODY, "near_duplicates": near}).replace('"threshold": 0', f'"threshold": {spelled}')


# Each is read as a request by some parser of JSON in the world, differently by two, or breaks one.
JSON: dict[str, str | bytes] = {
    "key twice": _PLAIN[:-1] + ', "goal": "never_seen"}',
    "key twice by an escape": _PLAIN[:-1] + ', "g\\u006fal": "never_seen"}',
    "key twice inside": _with("selectors", '[{"subject": "a", "subject": "b"}]'),
    "key twice, empty": _PLAIN[:-1] + ', "": 1, "": 2}',
    "another key by a letter's case": _PLAIN[:-1] + ', "Goal": "never_seen"}',
    "another key by a NUL": _PLAIN[:-1] + ', "goal\\u0000": "never_seen"}',
    "another key by a look-alike": _PLAIN[:-1] + ', "g\\u043eal": "never_seen"}',
    "NaN": _near("NaN"),
    "Infinity": _near("Infinity"),
    "minus Infinity": _near("-Infinity"),
    "beyond a double": _near("1e999"),
    "beyond 2^53": _near("9007199254740993"),
    "a million digits": _near("9" * 1_000_000),
    "leading zero": _near("04"),
    "plus": _near("+4"),
    "hexadecimal": _near("0x4"),
    "no digits behind the point": _near("4."),
    "no digits before the point": _near(".5"),
    "number in text": _near('"4"'),
    "true for one": _near("true"),
    "single quotes": _PLAIN.replace('"', "'"),
    "comment": "/* c */" + _PLAIN,
    "comment behind": _PLAIN + " // c",
    "trailing comma": _PLAIN[:-1] + ",}",
    "trailing text": _PLAIN + "x",
    "two values": _PLAIN + _PLAIN,
    "byte order mark": b"\xef\xbb\xbf" + _PLAIN.encode(),
    "UTF-16": _PLAIN.encode("utf-16"),
    "UTF-32": _PLAIN.encode("utf-32-le"),
    "not UTF-8": _PLAIN.encode().replace(b"toys", b"to\xffs"),
    "overlong UTF-8": _PLAIN.encode().replace(b"toys", b"to\xc0\xafs"),
    "half a surrogate pair": _with("selectors", '[{"subject": "\\ud800"}]'),
    "half a pair in bytes": _PLAIN.encode().replace(b"toys", b"\xed\xa0\x80"),
    "raw tab": _with("selectors", '[{"subject": "a\tb"}]'),
    "raw NUL": _with("selectors", '[{"subject": "a\0b"}]'),
    "wrong escape": _with("selectors", '[{"subject": "\\x41"}]'),
    "cut escape": _with("selectors", '[{"subject": "\\u00"}]'),
    "no-break space between": _PLAIN.replace(": ", ":\u00a0", 1),
    "form feed between": _PLAIN.replace(": ", ":\f", 1),
    "lists 100,000 deep": _with("selectors", "[" * 100_000 + "]" * 100_000),
    "mappings 100,000 deep": _with("selectors", '{"a":' * 100_000 + "1" + "}" * 100_000),
    "five megabytes": _with("dataset", json.dumps("x" * 5 * 2**20)),
    "a list of requests": f"[{_PLAIN}]",
    "text": json.dumps(_PLAIN),
    "null": "null",
    "empty": "",
    "the prototype": _PLAIN[:-1] + ', "__proto__": {"approved": true}}',
    "upper case UUID": _PLAIN.replace("11111111-1111-4111-8111", "AAAAAAAA-1111-4111-8111"),
    "name with a line break behind": _with("controller_id", '"shop-1\\n"'),
}

_HEADER = "request_id,controller_id,goal,regulation,kind,submitted_at,dataset,selector,value,approved_by\n"
_ROW = "11111111-1111-4111-8111-111111111111,shop-1,never_seen,gdpr,erasure,2026-11-01T09:30:00Z,toys,subject,{},\n"
CSV: dict[str, str | bytes] = {
    "open quote": _HEADER + _ROW.format('"a'),
    "quote inside": _HEADER + _ROW.format('a"b'),
    "text behind a quote": _HEADER + _ROW.format('"a"b'),
    "line break in a value": _HEADER + _ROW.format('"a\nb"'),
    "NUL": _HEADER + _ROW.format("a\0b"),
    "cell of a megabyte": _HEADER + _ROW.format("x" * 2**20),
    "cell more": _HEADER + _ROW.format("a,b"),
    "semicolons": (_HEADER + _ROW.format("a")).replace(",", ";"),
    "header twice": _HEADER + _HEADER + _ROW.format("a"),
    "column twice": _HEADER.replace("kind", "goal") + _ROW.format("a"),
    "no header": _ROW.format("a"),
    "no rows": _HEADER,
    "UTF-16": (_HEADER + _ROW.format("a")).encode("utf-16"),
    "formula as controller": _HEADER + _ROW.replace("shop-1", "=HYPERLINK()").format("a"),
    "formula as role": _HEADER + _ROW.format("a").replace(",\n", ",@SUM(1)\n"),
    "formula as data set": _HEADER + _ROW.replace("toys", "+1+cmd|' /C calc'!A0").format("a"),
    "tab before a value": _HEADER + _ROW.format("\t=1+1"),
    "two requests in one": _HEADER + _ROW.format("a") + _ROW.replace("gdpr", "ccpa").format("b"),
}
