"""What can be read of each latent by hand in the images of a cohort: ``python -m breastai_model.proof.readable COHORT``.

A feature of a network can hold no more of a latent than the images show. The figure is R² of a ridge regression on the features that
`breastai_model.phantom.measured` takes from the images, on held-out patients: with the lesion outlined by the truth, and where it is found
without it. It is what these features show, not a strict bound: a network may see what nobody measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom.cohort import PhantomCohort
from breastai_model.phantom.latents import LATENT_NAMES
from breastai_model.phantom.measured import MRI_FEATURES
from breastai_model.proof.probes import explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.proof.intervals import Interval


def readable(measured: NDArray[np.float64], latents: NDArray[np.float64], modality: str, names: tuple[str, ...]) -> Interval:
    """Return R² of latents from the features measured in the images.

    Parameters
    ----------
    measured
        (patient, feature), as `PhantomCohort.measured` returns them; what could not be measured counts as 0.
    latents
        (patient, latent), in the order of `LATENT_NAMES`.
    modality
        "mri", "us" or "both".
    names
        Of the latents; all together.
    """
    sides = {"mri": measured[:, : len(MRI_FEATURES)], "us": measured[:, len(MRI_FEATURES) :], "both": measured}
    return explained(np.nan_to_num(sides[modality]), latents[:, [LATENT_NAMES.index(name) for name in names]], "linear")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a cohort."""
    parser = argparse.ArgumentParser(prog="python -m breastai_model.proof.readable", description=__doc__)
    parser.add_argument("cohort", type=Path, help="a folder that breastai phantom --patients has written")
    cohort = PhantomCohort(parser.parse_args(arguments).cohort)
    print(f"R² on held-out ones of {len(cohort)} phantoms, outlined by the truth / found in the images")  # noqa: T201
    print("| latent | MRI | US | MRI + US |\n|---|---|---|---|")  # noqa: T201
    measured = [cohort.measured(found) for found in (False, True)]
    for name in LATENT_NAMES:
        cells = [
            " / ".join(f"{readable(each, cohort.latents, side, (name,)).value:.2f}" for each in measured) for side in ("mri", "us", "both")
        ]
        print(f"| {name} | {' | '.join(cells)} |")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
