"""Recall: the share of true pictures that look like a generated one (Kynkaanniemi et al., NeurIPS 2019, Eq. 2).

On features of missing pixels alone: metrics/_neighbourhoods.py. Low: some of what is real is never drawn.
"""

from __future__ import annotations

from unlearning.metrics._covering import Covering


class Recall(Covering, kind="recall"):
    """A share of 0 .. 1."""

    of_generated = False
