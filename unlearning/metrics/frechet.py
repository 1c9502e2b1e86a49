"""Frechet distance between feature clouds (Heusel et al., NeurIPS 2017), by pytorch-fid's own arithmetic.

    |m_1 - m_2|^2 + Tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))

It is the FID only where the features are pytorch-fid's Inception features; the report names the extractor beside it.
Small sets bias it upwards: compare values only for equal numbers of images.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from unlearning.contracts import Compared
from unlearning.metrics._through import Through, unknown


class Frechet(Through, kind="frechet"):
    """0 = the two feature clouds have equal mean and covariance."""

    per_image = False

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are no features, or no more images than features: a covariance is singular."""
        seen = self.seen(compared)
        if seen is None or min(len(seen.truth), len(seen.generated)) <= seen.truth.shape[1]:
            return unknown()
        # Imported by who measures: it loads torchvision, and every verb registers this metric.
        from pytorch_fid.fid_score import calculate_frechet_distance

        first, second = _moments(seen.truth), _moments(seen.generated)
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            # pytorch-fid passes an argument that SciPy is about to drop; the lock holds SciPy below that release.
            warnings.filterwarnings("ignore", message="The `disp` argument", category=DeprecationWarning)
            # Pictures that are all alike have no covariance to speak of: pytorch-fid adds a little to the diagonal.
            warnings.filterwarnings("ignore", category=linalg.LinAlgWarning)
            # One picture in every row, the mean picture in a hole that never moves, varies in nothing: 0 is its root.
            warnings.filterwarnings("ignore", message="Matrix is singular|invalid value encountered")
            return torch.tensor(float(calculate_frechet_distance(*first, *second)), dtype=torch.float64)


def _moments(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    table = features.double().cpu().numpy()
    return table.mean(axis=0), np.cov(table, rowvar=False)
