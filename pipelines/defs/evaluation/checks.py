"""One check a criterion, for each batch. What blocks, blocks model_promotion and nothing else.

Bounds on attacks and on metrics are named by the parameters alone, so all of a sort share one check.
"""

from __future__ import annotations

from pipelines.gating import gate_check, gathered_check, is_a_metric, is_an_attack

integrity = gate_check("integrity", "The report is about the checkpoints that lie here, and the weights moved.")
retention = gate_check("retention", "What must be kept is still drawn as before, on held-out images.")
forgetting = gate_check("forgetting", "What must go is drawn as badly as by a model that knows nothing.")
forgetting_trained = gate_check("forgetting_trained", "The same, on the images that training saw.")
reference_distance = gate_check("reference_distance", "The model behaves like one that never saw the forget set.")
over_forgetting = gate_check("over_forgetting", "Not so wrong that the picture betrays what was forgotten.", False)
sibling_retention = gate_check("sibling_retention", "Kept classes that look like the forgotten ones are too.", False)
attacks = gathered_check("attacks", "What attackers bring back or tell stays within gates.attacks.", is_an_attack)
metrics = gathered_check("metrics", "What metrics say of the unlearned model stays within gates.metrics.", is_a_metric)
