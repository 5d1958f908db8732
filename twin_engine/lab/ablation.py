"""What each part of the network contributes: the same training with that part taken away, on the same examples.

"no latent" holds z at zero, "no baselines" gives the network nothing to mix but the last value. The numbers are of
validation people, in units of ridge's error: CRPS says how good the forecast is at each age by itself, the energy
scores whether a sampled path hangs together from age to age. What learning the person contributes needs no training
of its own; ``evaluate`` measures it.
"""

from __future__ import annotations

from twin_engine.lab.fit import Progress, Recipe, fit_network
from twin_engine.lab.train import Plan, material_of
from twin_engine.network import BASES_PART, LATENT_PART

VARIANTS = {"whole": "", "no latent": LATENT_PART, "no baselines": BASES_PART}


def ablate(plan: Plan, signal: str, progress: Progress) -> dict[str, dict[str, float]]:
    """Variant -> validation numbers, each after the plan's steps. Raises RecordingError where there is no data."""
    material, out = material_of(plan, signal), {}
    fit, check = (material.fit, material.fit_bases), (material.check, material.check_bases)
    for name, part in VARIANTS.items():
        recipe = Recipe(plan.steps, plan.seed, plan.device)
        _, out[name] = fit_network(signal, fit, check, recipe, progress, part)
    return out
