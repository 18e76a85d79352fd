"""Every system that can be compared, by name, in the order of the tables."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING

from breastai_model.baselines import ablations, references, shaspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_model.baselines.system import System


def _of(module: str) -> Callable[[], System]:
    """Return what makes the system of a module, which is imported when it is asked for."""

    def make() -> System:
        made: System = getattr(importlib.import_module(f"breastai_model.baselines.{module}"), module)()
        return made

    return make


SYSTEMS: dict[str, Callable[[], System]] = {
    "mum-net": ablations.mum_net,
    "mpifr-svm": _of("mpifr_svm"),
    "adsvm-ranet": _of("adsvm_ranet"),
    "prevalence": references.Prevalence,
    "hand-features": references.HandFeatures,
    "us-only": references.UltrasoundOnly,
    "mri-only": references.MriOnly,
    "late-fusion": references.LateFusion,
    "early-concat": references.EarlyConcat,
    "ours": ablations.ours,
    **{name: partial(ablations.ABLATIONS.__getitem__, name) for name in ablations.ABLATIONS},
    "shaspec": shaspec.ShaSpec,
    "efficientnet-svm": _of("efficientnet_svm"),
    "deep-pachi": _of("deep_pachi"),
    "6b-net": _of("six_b_net"),
}
