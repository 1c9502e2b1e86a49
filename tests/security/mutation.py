"""`python -m tests.security.mutation [MODULE…] [--seconds N]`: are the trust core's tests the kind that fail?

mutmut changes one thing at a time (a comparison, a constant, an argument, a returned value, a text), and runs the fast
tests that reach it. A change that no test notices survived. It works on a copy of the checkout in a scratch folder, a
folder a module, where a stopped run goes on. mutmut changes no decorated function (properties, context managers), no
class body, no constant of a module, no f-string.

What came of it is kept in results/mutation.json. A survivor is equivalent if mutation_equivalents.json says why, or if
it changes the letters of a sentence only: tests look for what a sentence says.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from unlearning import files

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "mutation.json"
EQUIVALENTS = HERE / "mutation_equivalents.json"
ENOUGH = 90  # per cent of a module's mutants that are not equivalent

_EVIDENCE = "tests/evidence/"
TESTS = {
    "unlearning/digests.py": ("tests/test_digests.py",),
    "unlearning/fence.py": ("tests/test_fence.py",),
    "unlearning/files.py": ("tests/test_files.py",),
    "unlearning/json_text.py": ("tests/test_json_text.py",),
    "unlearning/gates.py": ("tests/test_gates.py",),
    "unlearning/evidence/merkle.py": (_EVIDENCE + "test_merkle.py",),
    "unlearning/evidence/commitment.py": (_EVIDENCE + "test_commitment.py",),
    "unlearning/evidence/log.py": (_EVIDENCE + "test_log.py",),
    "unlearning/evidence/proofs.py": (_EVIDENCE + "test_commitment.py",),
    "unlearning/evidence/canonical_text.py": (_EVIDENCE + "test_canonical_text.py",),
    "unlearning/evidence/history.py": (_EVIDENCE + "test_history.py",),
    "unlearning/evidence/envelope.py": (_EVIDENCE + "test_envelope.py",),
    "unlearning/evidence/trust.py": (_EVIDENCE + "test_trust.py",),
    "unlearning/evidence/claims.py": (_EVIDENCE + "test_claims.py",),
    "unlearning/evidence/key_files.py": (_EVIDENCE + "test_keys.py", _EVIDENCE + "test_key_use.py"),
    "unlearning/evidence/keys.py": (_EVIDENCE + "test_keys.py", _EVIDENCE + "test_key_use.py"),
    "unlearning/evidence/bundle.py": (_EVIDENCE + "test_bundle_form.py",),
    "unlearning/evidence/bundle_rules.py": (_EVIDENCE + "test_bundle_rules.py",),
    "unlearning/evidence/bundle_verification.py": (_EVIDENCE + "test_beside.py", _EVIDENCE + "test_signatures.py"),
    "unlearning/evidence/predicates.py": (_EVIDENCE + "test_statement_forms.py",),
    "unlearning/evidence/provenance.py": (_EVIDENCE + "test_statement_forms.py",),
    "unlearning/evidence/training_trace.py": (_EVIDENCE + "test_training_trace.py",),
    "unlearning/evidence/purge.py": (_EVIDENCE + "test_purge_record.py", _EVIDENCE + "test_taken_out.py"),
    "unlearning/evidence/statements.py": (_EVIDENCE + "test_statements.py", _EVIDENCE + "test_run_statements.py"),
    "unlearning/evidence/certificate.py": (_EVIDENCE + "test_composition.py",),
    "unlearning/evidence/verification.py": (_EVIDENCE + "test_recomputation.py", _EVIDENCE + "test_taken_out.py"),
    "unlearning/evidence/promotion.py": (_EVIDENCE + "test_succession.py", _EVIDENCE + "test_refused_promotions.py"),
    "unlearning/requests/states.py": ("tests/requests/test_states.py",),
    "unlearning/requests/deadlines.py": ("tests/requests/test_deadlines.py",),
    "unlearning/requests/schema.py": ("tests/requests/test_schema.py",),
    "unlearning/data/manifest.py": ("tests/data/test_manifest.py",),
}
_COPIED = ("unlearning", "tests", "infra", "pyproject.toml", "params.yaml")
_LARGE = ("*.png", "*.parquet", "*.pt", "__pycache__", "results")
_CODES = {0: "survived", 1: "killed", 3: "killed", 33: "no_test", -24: "timeout", 36: "timeout", None: "not_tried"}
_LONGER, _PATIENCE_S = 4.0, 2.0  # a mutant may take so many times as long as its tests, and this


def main() -> int:
    """Mutate each module named, or all; 1 if one of those that were tried whole is below the mark."""
    parser = argparse.ArgumentParser(prog="tests.security.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a word of a module's path; all without one")
    parser.add_argument("--seconds", type=int, default=3600, help="for one module; what was not tried is counted")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "unlearning-mutation")
    options = parser.parse_args()
    low = 0
    for module in TESTS:
        if options.modules and not any(word in module for word in options.modules):
            continue
        scratch = options.scratch / module.replace("/", ".").removesuffix(".py")
        _copy(scratch, module)
        _again(scratch, module)
        _mutate(scratch, options.seconds)
        row = _count(scratch, module)
        _keep(row)
        low += row["score"] is not None and row["score"] < ENOUGH
        sys.stdout.write(f"{json.dumps({**row, 'survivors': len(row['survivors'])})}\n")
        sys.stdout.writelines(f"    {line}\n" for line in row["survivors"])
        sys.stdout.flush()
    return int(low > 0)


def _copy(scratch: Path, module: str) -> None:
    """What the tests need, anew. What mutmut found out stays in `mutants`, as long as the module is the same."""
    before = (scratch / module).read_bytes() if (scratch / module).is_file() else b""
    if before != Path(module).read_bytes():  # mutmut looks at the times of files alone
        shutil.rmtree(scratch / "mutants", ignore_errors=True)
    for name in _COPIED:
        if Path(name).is_dir():
            shutil.copytree(name, scratch / name, ignore=shutil.ignore_patterns(*_LARGE), dirs_exist_ok=True)
        else:
            shutil.copy2(name, scratch / name)
    with (scratch / "pyproject.toml").open("a") as file:
        file.write(
            "\n[tool.mutmut]\n"
            'source_paths = ["unlearning"]\n'
            f"only_mutate = {json.dumps([module])}\n"
            'also_copy = ["params.yaml", "infra"]\n'
            f"pytest_add_cli_args_test_selection = {json.dumps(list(TESTS[module]))}\n"
            'pytest_add_cli_args = ["-p", "no:cacheprovider"]\n'
            "use_git_change_detection = false\n"
            f"timeout_multiplier = {_LONGER}\n"
            f"timeout_constant = {_PATIENCE_S}\n"
        )


def _again(scratch: Path, module: str) -> None:
    """Survivors are tried again: their tests may be other ones now."""
    meta = scratch / "mutants" / f"{module}.meta"
    if meta.is_file():
        told = json.loads(meta.read_bytes())
        codes = told["exit_code_by_key"]
        told["exit_code_by_key"] = {
            name: code if _CODES.get(code) == "killed" else None for name, code in codes.items()
        }
        meta.write_text(json.dumps(told))


def _mutate(scratch: Path, seconds: int) -> None:
    tool = Path(sys.executable).with_name("mutmut")
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["timeout", str(seconds), str(tool), "run", "--max-children", "1"]  # it ends the forks, too
    with (scratch / "mutmut.log").open("wb") as log:
        subprocess.run(command, cwd=scratch, env=quiet, stdout=log, stderr=log, check=False)


def _count(scratch: Path, module: str) -> dict[str, Any]:
    """The module's row. Its score counts what was tried and is not equivalent."""
    meta = scratch / "mutants" / f"{module}.meta"
    codes = json.loads(meta.read_bytes())["exit_code_by_key"] if meta.is_file() else {}
    found = Counter(_CODES.get(code, "killed") for code in codes.values())
    known = {entry["change"] for entry in json.loads(EQUIVALENTS.read_bytes()).get(module, [])}
    missed = [name for name, code in codes.items() if _CODES.get(code) in ("survived", "no_test")]
    changes = _changes(scratch, module, missed)
    wording = [change for change in changes if _only_letters(change)]
    equivalent = [change for change in changes if change in known and change not in wording]
    survived = sorted(change for change in changes if change not in known and change not in wording)
    tried = found["killed"] + found["timeout"] + len(survived)
    return {
        "module": module,
        "sha256": sha256(Path(module).read_bytes()).hexdigest(),
        "tests": list(TESTS[module]),
        "mutants": len(codes),
        **{what: found[what] for what in ("killed", "timeout", "not_tried")},
        "equivalent": len(equivalent),
        "wording": len(wording),
        "survived": len(survived),
        "score": round(100 * (found["killed"] + found["timeout"]) / tried, 1) if tried else None,
        "survivors": survived,
    }


_DIFFERENCES = """
import json, sys
from pathlib import Path
from mutmut.mutation.diff_apply import get_diff_for_mutant
print(json.dumps([get_diff_for_mutant(name, path=Path(sys.argv[1])) for name in sys.argv[2:]]))
"""


def _changes(scratch: Path, module: str, names: list[str]) -> list[str]:
    """What each mutant changes: its lines of the difference, in one text. One process: it takes seconds to begin."""
    command = [sys.executable, "-c", _DIFFERENCES, module, *names]
    told = json.loads(subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=True).stdout)
    found = [[line for line in one.splitlines() if re.match(r"[-+](?![-+]{2})", line)] for one in told]
    return [" ⟶ ".join(f"{line[0]} {line[1:].strip()}" for line in lines) for lines in found]


def _only_letters(change: str) -> bool:
    """Whether a sentence (a text with a space) was written in other letters, and nothing else is other."""
    before, _, after = change.partition(" ⟶ ")
    same = before[1:].casefold() == after[1:].replace('"XX', '"').replace('XX"', '"').casefold()
    return same and bool(re.search(r'"[^"]* [^"]*"', before))


def _keep(row: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_bytes())["modules"] if RESULTS.is_file() else {}
    kept[row["module"]] = row
    files.write_bytes(RESULTS, json.dumps({"tool": "mutmut 3.8.1", "modules": kept}, indent=1).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
