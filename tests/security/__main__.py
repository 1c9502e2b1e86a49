"""`python -m tests.security NAME [--json FILE]`: a campaign, a row a corpus. NAME is a module here with `rows()`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from unlearning import files


def main() -> int:
    """Exit code 1 if anything became of a hostile input that is no typed refusal."""
    parser = argparse.ArgumentParser(prog="tests.security", description=__doc__)
    parser.add_argument("name", help="hostile, say")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    options = parser.parse_args()
    found = importlib.import_module(f"tests.security.{options.name}").rows()
    for row in found:
        told = ", ".join(f"{row[name]} {name}" for name in row if name not in ("row", "odd"))
        sys.stdout.write(f"{row['row']:<36} {told}\n")
        sys.stdout.writelines(f"    {odd}\n" for odd in row.get("odd", ()))
    if options.json:
        files.write_json(options.json, found)
    return int(any(row.get("other") for row in found))


if __name__ == "__main__":
    sys.exit(main())
