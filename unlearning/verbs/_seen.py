"""What extractors make of one set's pictures under one draw of the corruption: batch by batch, and of the whole set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unlearning.contracts import Features, Layers, Metric
from unlearning.metrics._missing import only_missing
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.types import Images, Missing

WHOLE = "copies"  # the extractor whose features are of whole pictures; any other's are of missing pixels alone


def _looked_at(extractor: Extractor, pictures: Images) -> Tensor:
    """[B, F]. One picture in every row, the mean picture in a hole that never moves, say, is looked at once."""
    if len(pictures) > 1 and bool((pictures == pictures[:1]).all()):
        return extractor(pictures[:1]).expand(len(pictures), -1)
    return extractor(pictures)


class Seeing:
    """One pass over a set: truth and every model's pictures through every extractor that `metrics` read.

    `known` are the truth's features by extractor, [N, F] float64, where they were made before.
    """

    def __init__(
        self,
        extractors: Mapping[str, Extractor],
        metrics: Sequence[Metric],
        forget: Mapping[str, Tensor],
        known: Mapping[str, Tensor],
    ) -> None:
        self._reads: dict[str, set[str]] = {}
        for metric in metrics:
            name = metric.through()
            if name is not None and name in extractors:
                self._reads.setdefault(name, set()).add(metric.reads)
        self._of_sets = {metric.through() for metric in metrics if not metric.per_image}
        self._extractors, self._forget, self._known = extractors, forget, known
        self._truth: dict[str, list[Tensor]] = {}
        self._generated: dict[str, dict[str, list[Tensor]]] = {}  # extractor -> model -> a table a batch

    def batch(
        self, truth: Images, generated: Mapping[str, Images], missing: Missing, start: int
    ) -> dict[str, dict[str, Features]]:
        """model -> extractor -> features of one batch, whose first row in the set is `start`."""
        found: dict[str, dict[str, Features]] = {role: {} for role in generated}
        for name, reads in self._reads.items():
            extractor = self._extractors[name]
            whole = name == WHOLE
            framed = {role: picture if whole else only_missing(picture, missing) for role, picture in generated.items()}
            real = truth if whole else only_missing(truth, missing)
            table = self._of_truth(name, real, start)
            depths = extractor.maps(truth) if "layers" in reads else ()
            for role, picture in framed.items():
                mine = table if reads == {"layers"} else _looked_at(extractor, picture)
                layers = None
                if depths:
                    layers = Layers(depths, extractor.maps(generated[role]), extractor.channel_weights)
                found[role][name] = Features(table, mine, None, layers, self._forget.get(name))
                if name in self._of_sets:
                    self._generated.setdefault(name, {}).setdefault(role, []).append(mine)
        return found

    def whole_set(self, role: str) -> dict[str, Features]:
        """Extractor -> features of all pictures of one model; none of what no metric of sets reads."""
        found = {}
        for name, by_role in self._generated.items():
            mine = torch.cat(by_role[role])
            finite = bool(mine.isfinite().all())
            classes = self._extractors[name].probabilities(mine) if "classes" in self._reads[name] and finite else None
            found[name] = Features(self.truth(name), mine, classes)
        return found

    def truth(self, name: str) -> Tensor:
        """[N, F] float64, of every picture of the set, by one extractor."""
        return self._known[name] if name in self._known else torch.cat(self._truth[name])

    def made(self) -> dict[str, Tensor]:
        """The truth's features that were not known before."""
        return {name: torch.cat(tables) for name, tables in self._truth.items() if self._reads[name] != {"layers"}}

    def _of_truth(self, name: str, real: Images, start: int) -> Tensor:
        if name in self._known:
            return self._known[name][start : start + len(real)]
        if self._reads[name] == {"layers"}:  # no table is read: a row of nothing a picture
            return torch.empty(len(real), 0, dtype=torch.float64)
        self._truth.setdefault(name, []).append(self._extractors[name](real))
        return self._truth[name][-1]
