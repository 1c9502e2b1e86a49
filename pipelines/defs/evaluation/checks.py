"""One check a criterion, for each batch. What blocks, blocks model_promotion and nothing else."""

from __future__ import annotations

from pipelines.gating import gate_check

integrity = gate_check("integrity", "The report is about the checkpoints that lie here, and the weights moved.")
retention = gate_check("retention", "What must be kept is still drawn as before, on held-out images.")
forgetting = gate_check("forgetting", "What must go is drawn as badly as by a model that knows nothing.")
forgetting_trained = gate_check("forgetting_trained", "The same, on the images that training saw.")
reference_distance = gate_check("reference_distance", "The model behaves like one that never saw the forget set.")
over_forgetting = gate_check("over_forgetting", "Not so wrong that the picture betrays what was forgotten.", False)
sibling_retention = gate_check("sibling_retention", "Kept classes that look like the forgotten ones are too.", False)
