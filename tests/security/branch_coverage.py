"""`python -m tests.security.branch_coverage [--kept]`: which branches of the trust core's kernel a fast test takes.

The kernel is the list in pyproject.toml, `[tool.coverage.run]` (infra/decisions/0028-trust-core.md). Exit code 1 below
100 %. What came of it is kept in results/coverage.json, module by module. `--kept`: of the last run's data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from unlearning import files

RESULTS = Path(__file__).with_name("results") / "coverage.json"
TESTS = (
    "tests/evidence",
    "tests/purge",
    "tests/requests",
    "tests/data/test_manifest.py",
    "tests/security/test_agreement.py",
    "tests/security/test_byte_flips.py",
    "tests/security/test_keys.py",
    "tests/security/test_second_proofs.py",
    "tests/security/test_second_verifier.py",
    "tests/test_digests.py",
    "tests/test_fence.py",
    "tests/test_files.py",
    "tests/test_gates.py",
    "tests/test_json_text.py",
)


def main() -> int:
    """Run the tests under coverage, print what no test takes, keep the counts."""
    parser = argparse.ArgumentParser(prog="tests.security.branch_coverage", description=__doc__)
    parser.add_argument("--kept", action="store_true", help="count the last run's data, and run nothing")
    Path("var/coverage").mkdir(parents=True, exist_ok=True)
    failed = 0
    if not parser.parse_args().kept:
        _coverage("erase")
        failed = _coverage("run", "-m", "pytest", "-m", "not ui and not slow", *TESTS)
    with tempfile.NamedTemporaryFile(suffix=".json") as told:
        _coverage("json", "--quiet", "--fail-under=0", "-o", told.name)
        tree = json.loads(Path(told.name).read_bytes())
    rows = {name: _row(one["summary"]) for name, one in tree["files"].items()}
    kept = {"modules": rows, "whole": _row(tree["totals"])}
    files.write_bytes(RESULTS, json.dumps(kept, indent=1).encode() + b"\n")
    return failed or _coverage("report", "--skip-covered")


def _row(summary: dict[str, int]) -> dict[str, int]:
    told = ("num_statements", "covered_lines", "num_branches", "covered_branches", "excluded_lines")
    return {name: summary[name] for name in told}


def _coverage(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
