"""JSON that two readers cannot read in two ways: what is taken, and why anything else is not."""

from __future__ import annotations

import pytest

from unlearning import json_text
from unlearning.json_text import NotJson

LARGEST = 9007199254740991


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":[1,-2.5,true,null,"é"]}', {"a": [1, -2.5, True, None, "é"]}),
        ('"é"'.encode(), "é"),
        (f"[{LARGEST},-{LARGEST}]", [LARGEST, -LARGEST]),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\uD83D\\uDE00"', "😀"),
        ("1e308", 1e308),
        ("7", 7),
    ],
)
def test_what_is_exact_is_read(text: str | bytes, value: object) -> None:
    assert json_text.parse(text) == value


INEXACT = "^holds a number or text that JSON cannot carry exactly$"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", r"^not JSON \(Expecting property name"),
        (b"\xff", r"^not JSON \(not UTF-8 text\)$"),
        ('{"b":1,"a":2,"c":3,"a":1}', "^key 'a' stands there twice; once is right$"),
        ('{"x":{"' + "k" * 50 + '":1,"' + "k" * 50 + '":1}}', f"^key '{'k' * 40}' stands there twice"),
        ("NaN", "^NaN is not a JSON number$"),
        ("-Infinity", "^-Infinity is not a JSON number$"),
        (str(LARGEST + 1), INEXACT),
        (str(-LARGEST - 1), INEXACT),
        ("1" * 18, INEXACT),
        ("1" * 5000, INEXACT),
        ("1e309", INEXACT),
        ("-1e309", INEXACT),
        ('"\\ud800"', INEXACT),
        ('"\\uDC00"', INEXACT),
        ("[" * 65 + "]" * 65, "^nested deeper than 64$"),
        ('{"a":' * 65 + "1" + "}" * 65, "^nested deeper than 64$"),
        ("[" * 100_000, "^nested deeper than 64$"),
    ],
)
def test_anything_else_is_refused_in_a_clause(text: str | bytes, why: str) -> None:
    with pytest.raises(NotJson, match=why):
        json_text.parse(text)


def test_depth_and_length_are_the_callers() -> None:
    assert json_text.parse("[" * 64 + "]" * 64)
    assert json_text.parse("1", deepest=0) == 1
    assert json_text.parse("[1]", deepest=1, longest=3) == [1]
    with pytest.raises(NotJson, match=r"^nested deeper than 0$"):
        json_text.parse("[]", deepest=0)
    with pytest.raises(NotJson, match=r"^nested deeper than 1$"):
        json_text.parse('{"a":{}}', deepest=1)
    with pytest.raises(NotJson, match=r"^more than 2 bytes of JSON; split it$"):
        json_text.parse("[1]", longest=2)
