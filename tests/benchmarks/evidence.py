"""`python -m tests.benchmarks.evidence`: what it takes to commit to a data set, to prove, and to check.

    commit   tokens of every image, sorted, and the root of their tree
    proof    the file about one image: in the forget set (a hundredth of the data set), not in the retain set (the rest)
    check    that file against the certificate's roots; and a whole bundle against its trust file

Digests are drawn, not computed: reading and hashing the images is ingest's time. Medians of several; where other work
runs on the machine, the CPU time is the one to compare.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from tests.evidence.bundles import draft
from unlearning.evidence import bundle_verification, commitment, proofs, trust
from unlearning.process import machine

RESULTS = Path(__file__).with_name("results")
K = bytes(range(32))
PROOFS = 200


def seconds(what: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of one call, by a clock."""
    taken = []
    for _ in range(times):
        started = clock()
        what()
        taken.append(clock() - started)
    return median(taken)


def measure(images: int) -> dict[str, Any]:
    """One size of data set."""
    digests = [sha256(b"%d" % number).digest() for number in range(images)]
    cut = max(images // 100, 1)
    forget, retain = (commitment.of(K, "content", part) for part in (digests[:cut], digests[cut:]))
    roots = {"forget": (forget.size, forget.root), "retain": (retain.size, retain.root)}
    rng = random.Random(0)
    texts = [
        proofs.write("batch", K, "content", rng.choice(digests[:cut]), {"forget": forget, "retain": retain})
        for _ in range(PROOFS)
    ]
    for text in texts:
        assert proofs.problems(proofs.read(text, "proof"), roots) == []
    single = [
        proofs.write("batch", K, "content", digests[number % cut], {"retain": retain}) for number in range(PROOFS)
    ]
    return {
        "images": images,
        "commit_s": seconds(lambda: commitment.of(K, "content", digests).root, 3),
        "commit_cpu_s": seconds(lambda: commitment.of(K, "content", digests).root, 3, time.process_time),
        "proof_bytes": {"largest": max(map(len, texts)), "median": median(map(len, texts))},
        "absence_alone_bytes": max(map(len, single)),
        "prove_ms": 1000 * seconds(lambda: proofs.write("batch", K, "content", digests[0], {"forget": forget}), 20),
        "check_ms": 1000 * seconds(lambda: proofs.problems(proofs.read(texts[0], "proof"), roots), 50),
    }


def main() -> None:
    """Print a line a size, and keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    found = []
    for images in parser.parse_args().images:
        found.append(measure(images))
        sys.stdout.write(f"{found[-1]}\n")
        sys.stdout.flush()
    signed = draft(0, "issued")
    content, trusted = signed.sealed(), signed.trust()
    known = trust.read(trusted, "trust file")
    assert bundle_verification.verify(content, known).verified
    whole = {"bytes": len(content), "verify_ms": 1000 * seconds(lambda: bundle_verification.verify(content, known), 50)}
    sys.stdout.write(f"bundle: {whole}\n")
    said = {"schema": "benchmark/1", "sizes": found, "bundle": whole, "machine": machine()}
    (RESULTS / "evidence.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
