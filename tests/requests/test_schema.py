"""A request is what the schema says, or a sentence that names file, line and field, and no value."""

from __future__ import annotations

import json
import locale
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toy_batch import request_body
from unlearning import digests, files
from unlearning.errors import RequestError
from unlearning.requests import schema
from unlearning.requests.tabular import HEADER

CLASS = {"class": "3", "approved_by": "privacy-officer"}


def parsed(**changes: Any) -> schema.Filed:
    return schema.parse(json.dumps(request_body(**changes)), "requests.jsonl line 1")


def test_a_request_is_read_and_its_digest_does_not_depend_on_spelling() -> None:
    tree = request_body(selectors=[CLASS, {"sample_key": "digits-000017"}])
    one = schema.parse(json.dumps(tree), "here")
    other = schema.parse(json.dumps(dict(reversed(tree.items())), indent=3), "there")
    assert one == other
    assert [(selector.by, selector.value) for selector in one.request.selectors] == [
        ("class", "3"),
        ("sample_key", "digits-000017"),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"notes": "please"}, "there is no key 'notes'; keys that exist there: schema"),
        ({"selectors": [{"klass": "3"}]}, "there is no key 'selectors.0.klass'; keys that exist there: sample_key"),
        ({"selectors": [{"class": "3"}]}, "needs approved_by"),
        ({"selectors": [{"subject": "s1", "approved_by": "officer"}]}, "needs approved_by"),
        ({"selectors": [{"subject": "s1", "sample_key": "k"}]}, "exactly one of"),
        ({"selectors": [{}]}, "names nothing; exactly one of"),
        ({"selectors": []}, "holds 0 selectors; 1 to 10000"),
        ({"selectors": [{"sample_key": "k"}] * 10_001}, "holds 10001 selectors"),
        ({"selectors": [{"content_sha256": "ABC"}]}, "'selectors.0.content_sha256'"),
        ({"selectors": [{"pixel_sha256": "ABC"}]}, "'selectors.0.pixel_sha256'"),
        ({"selectors": [{"near_duplicate_of": "k"}]}, "near_duplicate_of needs near_duplicates"),
        ({"near_duplicates": {"mode": "all"}}, "'near_duplicates.mode'"),
        ({"near_duplicates": {"how": "all"}}, "no key 'near_duplicates.how'; keys that exist there: mode"),
        ({"near_duplicates": {"mode": "include", "threshold": 2.5}}, "a whole number from 0 to 16"),
        ({"near_duplicates": {"mode": "include", "threshold": 17}}, "'near_duplicates.threshold'"),
        ({"near_duplicates": {"mode": "include", "method": "embedding", "threshold": 4}}, "the threshold is a cosine"),
        ({"selectors": [{"sample_key": "a\nb"}]}, "control characters"),
        ({"selectors": [{"sample_key": 17}]}, "'selectors.0.sample_key'"),
        ({"selectors": "all"}, "'selectors'"),
        ({"goal": "forget"}, "'unreconstructable' or 'never_seen'"),
        ({"kind": "Erasure"}, "'kind'"),
        ({"schema": "forget-request/2"}, "'forget-request/1'"),
        ({"request_id": "0D1B8B52-6A64-4C1E-9A57-3F2F6C0E5A31"}, "'request_id'"),
        ({"request_id": "0d1b8b52-6a64-1c1e-9a57-3f2f6c0e5a31"}, "'request_id'"),
        ({"controller_id": "null"}, "reserved word"),
        ({"controller_id": "shop\n"}, "'controller_id'"),
        ({"controller_id": "../shop"}, "'controller_id'"),
        ({"submitted_at": "2026-11-01T09:30:00"}, "time with a zone"),
        ({"submitted_at": 1793525400}, "'submitted_at'"),
        ({"submitted_at": "2026-02-30T09:30:00Z"}, "time with a zone"),
        ({"dataset": 2**53}, "cannot carry exactly"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=r"^requests\.jsonl line 1: ") as error:
        parsed(**changes)
    assert said in str(error.value)
    assert "more)" not in str(error.value)


@pytest.mark.parametrize("missing", sorted(set(request_body()) - {"dataset"}))
def test_every_field_but_the_data_set_is_needed(missing: str) -> None:
    tree = request_body()
    del tree[missing]
    with pytest.raises(RequestError, match=f"'{missing}': field required"):
        schema.parse(json.dumps(tree), "here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "should be an object"),
        ('{"goal": "never_seen", "goal": "unreconstructable"}', "key 'goal' stands there twice"),
        ('{"selectors": [{"subject": "a", "subject": "b"}]}', "key 'subject' stands there twice"),
        ('{"goal": NaN}', "NaN is not a JSON number"),
        ('{"goal": -Infinity}', "-Infinity is not a JSON number"),
        ('{"goal": 1e999}', "cannot carry exactly"),
        ('{"goal": "\\ud800"}', "cannot carry exactly"),
        ('{"goal": ' + "[" * 9 + "]" * 9 + "}", "nested deeper than 8"),
        ("[" * 200_000, "nested deeper than 8"),
        (" " * (schema.MAX_BODY + 1), "more than"),
    ],
)
def test_json_traps_are_refused(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=r"^here: ") as error:
        schema.parse(text, "here")
    assert said in str(error.value)


def test_an_error_never_repeats_a_value(tmp_path: Path) -> None:
    canary = "canary-4711"
    path = tmp_path / "requests.jsonl"
    for changes in (
        {"goal": canary},
        {"request_id": canary},
        {"selectors": [{"subject": f"{canary}\t"}]},
        {"selectors": [{"content_sha256": canary}]},
        {"submitted_at": canary},
    ):
        path.write_text(json.dumps(request_body(**changes)))
        with pytest.raises(RequestError) as error:
            schema.read(path)
        assert canary not in str(error.value)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{json.dumps(request_body())}\n\n{json.dumps(request_body(goal='x'))}\n")
    with pytest.raises(RequestError, match=r"requests\.jsonl line 3: 'goal'"):
        schema.read(path)


def test_a_json_file_holds_one_request_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request_body(), indent=2))
    assert [filed.request.goal for filed in schema.read(path)] == ["unreconstructable"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_an_empty_or_unreadable_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"requests\.jsonl"):
        schema.read(path)
    with pytest.raises(RequestError, match="cannot be read"):
        schema.read(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.sampled_from(sorted(request_body())), JSON)
def test_any_value_in_any_field_is_accepted_whole_or_refused_in_one_sentence(field: str, value: Any) -> None:
    said, filed = "", None
    try:
        filed = schema.parse(json.dumps(request_body(**{field: value})), "here")
    except RequestError as error:
        said = str(error)
    assert (filed is not None and json.loads(filed.body)[field] == value) or said.startswith("here: ")
    assert "\n" not in said


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_gives_a_typed_refusal(text: str) -> None:
    with pytest.raises(RequestError):
        schema.parse(text, "here")


def test_a_row_of_a_table_is_a_request_and_its_line_is_named(tmp_path: Path) -> None:
    path, said = tmp_path / "requests.csv", request_body()
    cells = [str(said[name]) for name in HEADER[:7]]
    path.write_text(f"{','.join(HEADER)}\n{','.join(cells)},class,star,privacy-officer\n")
    (filed,) = schema.read(path)
    assert filed == schema.parse(json.dumps(said), "here")
    path.write_text(f"{','.join(HEADER)}\n{','.join(cells)},class,star,\n")
    with pytest.raises(RequestError, match=r"requests\.csv line 2: .*needs approved_by"):
        schema.read(path)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    with path.open("wb") as file:
        file.truncate(schema.MAX_FILE + 1)  # a hole: nothing is on disk
    with pytest.raises(RequestError, match=f"more than {schema.MAX_FILE} bytes; split the file"):
        schema.read(path)


def test_half_a_surrogate_pair_has_no_bytes() -> None:
    """Not as an escape: a caller may hand over text that no UTF-8 spells."""
    with pytest.raises(RequestError, match=r"^here: holds a number or text that JSON cannot carry exactly$"):
        schema.parse('{"goal":"\ud800"}', "here")


def test_of_several_mistakes_the_first_is_told_and_how_many_more_there_are() -> None:
    for wrong, more in (
        (("goal",), ""),
        (("goal", "kind"), " (and 1 more)"),
        (("goal", "kind", "dataset"), " (and 2 more)"),
    ):
        with pytest.raises(RequestError) as error:
            parsed(**{field: 7 for field in wrong})
        assert str(error.value) == (
            f"requests.jsonl line 1: 'goal': input should be 'unreconstructable' or 'never_seen'{more}"
        )
    with pytest.raises(RequestError) as error:
        parsed(**{"x" * 90: 1, "y": 1})
    assert str(error.value).startswith(f"requests.jsonl line 1: there is no key {'x' * 80!r}; keys that exist there: ")
    assert str(error.value).endswith(", near_duplicates (and 1 more)")


def test_a_rule_of_ours_is_told_in_its_own_words() -> None:
    with pytest.raises(RequestError) as error:
        parsed(controller_id="null")
    assert str(error.value) == ("requests.jsonl line 1: 'controller_id': is a reserved word; an opaque name is right")


def test_the_longest_that_is_allowed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = [{"sample_key": f"k{number}"} for number in range(schema.MAX_SELECTORS)]
    assert len(parsed(selectors=most).request.selectors) == schema.MAX_SELECTORS
    text = json.dumps(request_body())
    assert schema.parse(text.ljust(schema.MAX_BODY), "here") == schema.parse(text, "there")
    path = tmp_path / "request.json"
    path.write_text(text)
    monkeypatch.setattr(schema, "MAX_FILE", len(text))
    assert schema.read(path) == [schema.parse(text, "here")]
    monkeypatch.setattr(schema, "MAX_FILE", len(text) - 1)
    with pytest.raises(RequestError) as error:
        schema.read(path)
    assert str(error.value) == f"{path}: more than {len(text) - 1} bytes; split the file"


def test_every_form_of_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    for name in ("request.json", "requests.csv", "requests.jsonl"):
        path = tmp_path / name
        path.write_text("{")
        with pytest.raises(RequestError) as error:
            schema.read(path)
        assert str(error.value).startswith(str(path))
        path.write_bytes(b"\xff")
        with pytest.raises(RequestError) as error:
            schema.read(path)
        assert str(error.value) == f"{path}: cannot be read as UTF-8 text (UnicodeDecodeError)"


def test_a_request_is_known_by_the_digest_of_its_canonical_text() -> None:
    filed = parsed()
    assert filed.body == files.canonical(request_body())
    assert filed.digest == digests.of_bytes(filed.body)


@pytest.fixture
def plain_locale() -> Iterator[None]:
    """A machine on which text is ASCII where nobody says otherwise."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("plain_locale")
def test_a_file_is_utf8_wherever_it_is_read(tmp_path: Path) -> None:
    path, text = (
        tmp_path / "request.json",
        json.dumps(request_body(selectors=[{"sample_key": "é"}]), ensure_ascii=False),
    )
    path.write_bytes(text.encode())
    assert schema.read(path) == [schema.parse(text, "here")]
