"""Precision: the share of generated pictures that look like a true one (Kynkaanniemi et al., NeurIPS 2019, Eq. 2).

On features of missing pixels alone: metrics/_neighbourhoods.py. Low: what fills the holes looks like nothing real.
"""

from __future__ import annotations

from unlearning.metrics._covering import Covering


class Precision(Covering, kind="precision"):
    """A share of 0 .. 1."""

    of_generated = True
