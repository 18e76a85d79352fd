"""The pieces that need no image: every setting of the feature-level phantoms, planted affinity, batch independence."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from breastai_model.proof import latent_claims
from breastai_model.proof.independence import affinity_rows, batch_rows
from breastai_model.proof.latent_claims import LEAKY, PROBE_GATE, LatentBudget
from breastai_model.proof.latent_scenarios import scenario_pieces
from breastai_model.proof.pieces import Piece
from breastai_model.proof.table import Row, at_least, at_most
from breastai_model.recipe import preset

if TYPE_CHECKING:
    from breastai_model.proof.pieces import Bench

NAMES = {
    "control": ("latent-control", "Latent phantoms: control (no BatchNorm on F^a, no adversary, no L_C)"),
    "literal": ("latent-literal", "Latent phantoms: equation 14 as printed, not normalised"),
    "normalised": ("latent-normalised", "Latent phantoms: the printed adversary, normalised, without L_C"),
    "faithful": ("latent-faithful", "Latent phantoms: recipe faithful"),
    "stable": ("latent-stable", "Latent phantoms: recipe stable"),
    "stable, batch 6": ("latent-stable6", "Latent phantoms: recipe stable at batch 6"),
    "stable, batch 6, no memory": ("latent-stable6-no-memory", "Latent phantoms: recipe stable at batch 6 without memory"),
    "stable without adversary": ("latent-no-adversary", "Latent phantoms: recipe stable without the adversary"),
    "stable, modalities dropped": ("latent-missing", "Latent phantoms: a modality is missing"),
}
QUICK = ("control", "literal", "faithful", "stable", "stable, modalities dropped")


def latent_pieces(*, quick: bool) -> list[Piece]:
    """Return the pieces in the order of the table."""
    budget = LatentBudget(seeds=(1,)) if quick else LatentBudget()
    pieces = []
    for setting in QUICK if quick else tuple(NAMES):
        name, title = NAMES[setting]
        pieces.append(Piece(name, title, budget.words(setting), partial(_rows, setting, budget)))
    if quick:  # the full table has them on images
        pieces += scenario_pieces()
    recipe = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16)) if quick else preset("tiny")
    patients = 300 if quick else 3000
    return [
        *pieces,
        Piece("affinity", "Planted affinity", f"{patients} patients", lambda _bench: affinity_rows(patients)),
        Piece(
            "batch",
            "Batch independence",
            f"preset {recipe.preset}, {recipe.mri_shape}, {recipe.us_shape}",
            lambda _bench: batch_rows(recipe),
        ),
    ]


def _rows(setting: str, budget: LatentBudget, bench: Bench) -> list[Row]:
    """Train one setting and return what is claimed of it."""
    made = latent_claims.train_setting(setting, budget, bench)
    if setting == "literal":
        return [latent_claims.norm_row(made)]
    if setting == "stable, modalities dropped":
        return latent_claims.missing_rows(made)
    gates = {"control": at_least(LEAKY), "normalised": at_least(LEAKY)}
    mlp = at_most(PROBE_GATE) if setting.startswith("stable") and "no memory" not in setting else gates.get(setting)
    rows = latent_claims.classification_rows(setting, made)
    rows += latent_claims.leakage_rows(setting, made, None, mlp)
    bench.left_s()
    judged = setting in ("stable", "stable, batch 6")
    rows += latent_claims.information_rows(setting, made, judged) + latent_claims.projection_rows(setting, made, judged)
    if setting == "stable":
        rows += latent_claims.control_rows(made) + latent_claims.swap_rows(made)
    return rows
