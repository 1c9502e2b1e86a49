"""A share of the strings through everything: `python -m tests.security naughty` tries them all."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from pipelines.intake.problems import without_values
from tests.security import naughty, naughty_sinks
from tests.security.corpora_strings import ALL, CATEGORIES, STRINGS
from tests.security.naughty import Row, Tally
from unlearning import log
from unlearning.errors import RequestError, UnlearningError
from unlearning.requests.ledger import Ledger

EVERY = 23  # of a category's strings, one is tried in every run
SHARE = tuple(
    dict.fromkeys(text for found in STRINGS.values() for text in (found[0], *found[len(found) // 2 :: EVERY]))
)
SHOWN = SHARE[::5]  # a page or a call costs as much as a thousand parses


def sound(rows: list[Row]) -> bool:
    """Nothing but refusals and what came out as it went in."""
    assert [row["odd"] for row in rows] == [[] for _ in rows]
    return all(row["tried"] == row["refused"] + row["kept"] > 0 for row in rows)


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    assert len(ALL) >= 500
    assert all(len(found) >= 15 for found in STRINGS.values())
    assert len(CATEGORIES) >= 16
    assert {unicodedata.category(letter) for text in ALL for letter in text} >= {
        "Cc",
        "Cf",
        "Co",
        "Cs",
        "Cn",
        "Mn",
        "Zl",
    }
    assert len(naughty.FIELDS) == 19


def test_in_every_field_of_a_request_by_every_door() -> None:
    assert sound([naughty.as_json(SHARE), naughty.as_lines(SHARE), naughty.as_csv(SHARE), naughty.as_file(SHARE)])


def test_in_the_ledger(tmp_path: Path) -> None:
    assert sound([naughty.in_the_ledger(SHARE, str(tmp_path / "ledger.sqlite"))])


@pytest.mark.slow
def test_in_a_ledger_of_postgresql(postgres_database: str) -> None:
    assert sound([naughty.in_the_ledger(ALL, postgres_database)])


@pytest.mark.slow
def test_all_of_them_everywhere() -> None:
    assert sound(naughty.rows())


def test_over_http(tmp_path: Path) -> None:
    assert sound(naughty_sinks.over_http(SHOWN, tmp_path))


def test_where_text_ends_up(tmp_path: Path) -> None:
    rows = [*naughty_sinks.resolved(SHARE, tmp_path), *naughty_sinks.said(ALL), *naughty_sinks.told_of(SHARE, tmp_path)]
    assert sound([*rows, *naughty_sinks.named(SHOWN, tmp_path), *naughty_sinks.shown(SHOWN)])


def _fails() -> bool:
    raise KeyError("x")


def _mumbles() -> bool:
    error = UnlearningError("")
    error.args = ("two\nlines",)
    raise error


def _repeats() -> bool:
    raise UnlearningError("it said " + "a" * 100)


@pytest.mark.parametrize("hand_in", [_fails, _mumbles, _repeats, lambda: False, lambda: "a"])
def test_whatever_else_happens_is_told(hand_in: object) -> None:
    tally = Tally("toy")
    tally.tried("a" * 100, "here", hand_in)  # type: ignore[arg-type]
    tally.tried("a", "here", lambda: True)
    assert (tally.as_row["other"], tally.as_row["kept"], len(tally.odd)) == (1, 1, 1)


def test_a_page_that_lets_markup_in_is_told() -> None:
    plain = naughty_sinks.Shape("<p title='plain'>plain</p>")
    for html in ("<p title='x'>x</p><b>", "<p title='x' onclick='y'>x</p>", "<p title='x'>x<!--y--></p>"):
        with pytest.raises(AssertionError, match="another element"):
            naughty_sinks.as_text(html, "x", plain)
    assert not naughty_sinks.as_text("<p title='y'>y</p>", "x", plain)
    assert naughty_sinks.as_text("<p title='y'>a &lt;b&gt;</p>", "<b>", plain)


# What the campaign found, each with its input


@pytest.mark.parametrize("text", ["\ud800", "\0", "a\udcff"])
def test_what_no_driver_takes_is_not_in_the_ledger(text: str, tmp_path: Path) -> None:
    """Found: `request show` of bytes that are no UTF-8 ended in the words of the driver."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    _, _, one = naughty.filed(["a"])[0]
    (entry,) = ledger.add([one])
    assert ledger.find(text) == ledger.listed(batch=text) == ledger.listed(model=text) == []
    assert ledger.find(entry.request_id) == ledger.listed() == [entry]
    with pytest.raises(RequestError, match="not a code"):
        ledger.approve(entry, "near_duplicates", text, "privacy-officer")
    assert ledger.approved(entry) == set()


@pytest.mark.parametrize(
    "key", ["'; DROP TABLE requests; --", "a'b\"c", "\\'", "plain words", "it's", "9007199254740992"]
)
def test_no_key_is_said_back_however_it_is_quoted(key: str) -> None:
    """Found: a key with a quote in it stands in the other kind of quotes, and came through."""
    assert without_values(f"line 1: there is no key {key!r}; keys that exist there: a (and 1 more)") == (
        "line 1: there is no key '…'; keys that exist there: a (and 1 more)"
    )
    assert without_values("'goal': input should be") == "'goal': input should be"


def test_an_answer_on_a_terminal_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Found: a C1 escape code or a mark that turns text round came through; half a surrogate pair ended the command."""
    said = {"class": "a\x9b2J\u202eb\ud800\u2028é\U000f0000", "n": 1.5}
    log.say(said)
    written = capsys.readouterr().out
    assert written == '{"class": "a\\u009b2J\\u202eb\\ud800\\u2028é\\udb80\\udc00", "n": 1.5}\n'
    assert json.loads(written) == said
