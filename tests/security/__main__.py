"""`python -m tests.security [NAME…]`: hostile inputs and attacks, a row a corpus; all of a group, or those named.

    security   what comes in: hostile files, strings, requests; what must not get out; what must be found
    evidence   what goes out: bundles, changed and attacked, and two verifiers beside each other; damaged batches

Every campaign is a module here with `rows()`. What a group came to is kept under tests/security/results/, campaign by
campaign, with the machine it ran on. Exit code 1 if anything became of an input that ought not.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from unlearning.process import machine

GROUPS = {
    "security": ("hostile", "naughty", "fuzz", "requests_as_attacks", "planted", "canaries"),
    "evidence": ("byte_flips", "agreement", "corrupted"),
}
RESULTS = Path(__file__).with_name("results")
_WIDE = 52


def main() -> int:
    """Run the campaigns one after the other, and keep what they came to."""
    parser = argparse.ArgumentParser(prog="tests.security", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of a campaign or a group: {', '.join(GROUPS)}")
    parser.add_argument("--dry", action="store_true", help="print, and keep nothing")
    options = parser.parse_args()
    chosen = [name for word in options.names or GROUPS for name in GROUPS.get(word, (word,))]
    wrong = 0
    for name in chosen:
        began = time.monotonic()
        found = importlib.import_module(f"tests.security.{name}").rows()
        wrong += sum(row.get("other", 0) for row in found)
        _print(name, found)
        if not options.dry:
            _keep(name, found, time.monotonic() - began)
    return int(wrong > 0)


def _print(name: str, found: list[dict[str, Any]]) -> None:
    sys.stdout.write(f"{name}\n")
    for row in found:
        told = ", ".join(f"{value} {what}" for what, value in row.items() if what not in ("row", "odd"))
        sys.stdout.write(f"  {row['row']:<{_WIDE}} {told}\n")
        sys.stdout.writelines(f"      {odd}\n" for odd in row.get("odd", ()))
    sys.stdout.flush()


def _keep(name: str, found: list[dict[str, Any]], seconds: float) -> None:
    group = next((group for group, names in GROUPS.items() if name in names), "other")
    path = RESULTS / f"{group}.json"
    kept = json.loads(path.read_bytes())["campaigns"] if path.is_file() else {}
    kept[name] = {"machine": machine(), "rows": found, "seconds": round(seconds, 1)}
    RESULTS.mkdir(exist_ok=True)
    said = {"schema": "security/1", "campaigns": kept}
    path.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
