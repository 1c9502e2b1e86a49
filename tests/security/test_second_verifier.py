"""The second verifier accepts what the specification allows, and for everything else names the clause it breaks."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.verifier import verify_certificate as verifier
from tests.security import second_breaks as breaks
from tests.security import second_bundles as signing
from tests.security import second_sets as sets
from tests.security import second_spellings as spellings
from tests.security.second_breaks import edited
from tests.security.second_judge import KEYS, clauses, sealed


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        ("issued", breaks.ISSUED),
        ("issued", tuple(name for name in breaks.ISSUED if name != "purge")),
        ("issued", tuple(name for name in breaks.ISSUED if name not in ("purge", "promotion", "dataset_keys"))),
        ("refused", tuple(signing.draft("refused"))),
        ("no_match", ("dataset", "dataset_keys", "no-match", "index")),
        ("no_match", ("dataset", "no-match", "index")),
    ],
)
def test_what_holds_is_accepted_with_its_log_and_its_weights(status: str, parts: tuple[str, ...]) -> None:
    draft = signing.draft(status)
    made = signing.sealed({name: draft[name] for name in parts})
    model = None if status == "no_match" else sets.digest(f"weights {status}")
    report = verifier.judge(made.bundle, KEYS, verifier.Given(log=made.log, model=model))
    said = json.loads(report.document())
    assert (said["verified"], said["status"], said["problems"]) == (True, status, [])
    assert said["claim_level"] == ("C1" if status == "issued" else "none")


@pytest.mark.parametrize(
    "case", breaks.SHAPES + breaks.RULES, ids=lambda case: f"{case.clause}-{case.part}-{case.path}"
)
def test_one_field_otherwise_breaks_one_clause(case: breaks.Field) -> None:
    assert clauses(sealed(case.broken())) == {case.clause}


@pytest.mark.parametrize("name", breaks.ORDERS)
def test_statements_are_those_of_a_bundle_in_its_order(name: str) -> None:
    clause, draft = breaks.ORDERS[name]
    assert clauses(sealed(draft)) == {clause}


@pytest.mark.parametrize("name", spellings.SPELLINGS)
def test_a_payload_has_one_spelling(name: str) -> None:
    old, new = spellings.SPELLINGS[name]
    made = signing.sealed(signing.draft("issued"), respelled=lambda text: text.replace(old, new))
    assert clauses(made.bundle) == {"1"}


@pytest.mark.parametrize(
    ("before", "after"), [(b"\xef\xbb\xbf", b""), (b" ", b""), (b"", b"\n"), (b"", b"\x00"), (b"", b"{}")]
)
def test_there_is_nothing_around_a_payload(before: bytes, after: bytes) -> None:
    made = signing.sealed(signing.draft("issued"), respelled=lambda text: before + text + after)
    assert clauses(made.bundle) == {"1"}


@pytest.mark.parametrize("name", spellings.LINES)
def test_lines_are_the_envelopes_that_were_signed(name: str) -> None:
    clause, edit = spellings.LINES[name]
    bundle = b"".join(edit(sealed(signing.draft("issued")).splitlines(keepends=True)))
    assert clauses(bundle) == {clause}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("predicate.runDetails.builder.id", "\u007f \U0001f600 \u202e" + "x" * 195),
        ("predicate.runDetails.metadata.invocationId", 'quote " backslash \\ slash /'),
        ("predicate.buildDefinition.externalParameters", {"seed": -(2**53) + 1, "note": "\n\t\b\f\r\u0000\u001f"}),
        ("predicate.buildDefinition.internalParameters", {}),
        ("predicate.runDetails.metadata.startedOn", "2026-11-22T08:30:00+00:00"),
        ("predicate.runDetails.metadata.startedOn", "0001-01-01T00:00:00+00:00"),
        ("predicate.runDetails.metadata.finishedOn", signing.ISSUED_AT),
        ("predicate.runDetails.byproducts", []),
    ],
)
def test_the_edges_of_what_is_allowed_are_accepted(path: str, value: Any) -> None:
    draft = signing.draft("issued")
    assert clauses(sealed({**draft, "provenance": edited(draft["provenance"], path, value)})) == set()


# --- keys


@pytest.mark.parametrize(
    ("entry", "good"),
    [
        ({"valid_from": signing.ISSUED_AT}, True),
        ({"valid_from": breaks.LATE}, False),
        ({"valid_until": breaks.LATE}, True),
        ({"valid_until": signing.ISSUED_AT}, False),
        ({"revoked_from": breaks.LATE}, True),
        ({"revoked_from": signing.ISSUED_AT}, False),
        ({"valid_until": breaks.LATE, "revoked_from": "2026-02-01T00:00:00+00:00"}, False),
        ({"role": "privacy_officer"}, False),
    ],
)
def test_a_key_is_good_in_its_role_and_its_time(entry: dict[str, str], good: bool) -> None:
    keys = verifier.read_trust(signing.trust([signing.PIPELINE.trusted(**entry), signing.OFFICER.trusted()]))
    assert clauses(sealed(signing.draft("issued")), keys) == (set() if good else {"6"})


@pytest.mark.parametrize(
    "data",
    [
        signing.trust()[:-1],
        b"",
        b"{}\n",
        b"[" + b" " * 2**20 + b"]\n",
        signing.trust([]),
        signing.trust([signing.OFFICER.trusted(), signing.OFFICER.trusted()]),
        signing.trust([signing.OFFICER.trusted(public=signing.ATTACKER.public.hex())]),
        signing.trust([signing.OFFICER.trusted(keyid=sets.digest("alias"))]),
        signing.trust([signing.OFFICER.trusted(role="admin")]),
        signing.trust([signing.OFFICER.trusted(valid_from=None)]),
        signing.trust([signing.OFFICER.trusted(comment="")]),
        signing.trust().replace(b"trust/1", b"trust/2"),
        signing.trust().replace(b":", b": ", 1),
        sets.canonical({"schema": "trust/1", "keys": json.loads(signing.trust())["keys"][::-1]}) + b"\n",
    ],
)
def test_a_trust_file_that_is_none_leaves_nothing_to_judge_by(data: bytes) -> None:
    with pytest.raises(verifier.Unjudged, match=r"^spec [15]: "):
        verifier.read_trust(data)


# --- the command line


def test_the_command_line_answers_in_exit_codes_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = signing.sealed(signing.draft("refused"))
    files = {
        "bundle": made.bundle,
        "trust": signing.trust(),
        "log": made.log,
        "image": b"image 1",
        "cut": made.bundle[:-1],
    }
    files |= {
        "proof": sets.canonical(sets.proof("content", b"image 1", ["dataset"])) + b"\n",
        "weights": b"weights refused",
    }
    paths = {name: tmp_path / name for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    report, trusted = (
        tmp_path / "report.json",
        ["--trust", str(paths["trust"]), "--json", str(tmp_path / "report.json")],
    )

    beside = [f"--{name}={paths[name]}" for name in ("log", "proof", "image")]
    assert verifier.main([str(paths["bundle"]), *trusted, *beside, f"--model={paths['weights']}"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("REFUSED: everything that was given holds; claim level none\n")
    assert all(one.keyid in told for one in (signing.PIPELINE, signing.OFFICER, signing.SECOND_PIPELINE))
    said = json.loads(report.read_bytes())
    assert report.read_bytes() == sets.canonical(said) + b"\n"
    assert (said["schema"], said["verified"], said["status"]) == ("verification/1", True, "refused")

    assert verifier.main([str(paths["cut"]), *trusted]) == 1
    assert capsys.readouterr().out.startswith("DOES NOT HOLD")
    said = json.loads(report.read_bytes())
    assert (said["verified"], said["status"], said["claim_level"], len(said["problems"])) == (False, None, None, 1)

    for wrong in (
        [str(tmp_path / "none"), *trusted],
        [str(paths["bundle"]), "--trust", str(paths["log"]), "--json", str(report)],
        [str(paths["bundle"]), *trusted, "--model", str(tmp_path)],
        [str(paths["bundle"]), *trusted, "--image", str(paths["image"])],
        [str(paths["bundle"]), *trusted[:2], "--json", str(tmp_path)],
    ):
        assert verifier.main(wrong) == 2
        assert capsys.readouterr().out.startswith("NOT JUDGED: ")
    assert json.loads(report.read_bytes())["verified"] is False


def test_words_of_a_bundle_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft = signing.draft("issued")
    draft["index"] = edited(draft["index"], "predicate.not_claimed", ["\u001b[2J\u202e\nISSUED"])
    (tmp_path / "bundle").write_bytes(sealed(draft))
    (tmp_path / "trust").write_bytes(signing.trust())
    assert verifier.main([str(tmp_path / "bundle"), "--trust", str(tmp_path / "trust")]) == 0
    assert re.fullmatch("[ -~\n]*", capsys.readouterr().out)


def test_it_is_one_file_of_the_standard_library_and_cryptography() -> None:
    source = Path(verifier.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    roots = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    roots |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert roots - sys.stdlib_module_names == {"cryptography"}
