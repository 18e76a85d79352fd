"""Imported backbones: pre-activation ResNets that a person brought, from which a training run may start its streams.

Each is kept as it was brought, in ``backbones`` below the models' folder, under the SHA-256 of its content. A plan names it
by that (`breastai_model.plan.Plan.start_from`). Nothing is ever downloaded.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from breastai_gui.services.models import sha256_of
from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.services.places import Places

FOLDER = "backbones"
_NAME = re.compile(r"[0-9a-f]{64}")


class BackboneMissing(Exception):
    """A backbone that a plan starts from is not here; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class ImportedBackbone:
    """A backbone in the models' folder.

    Attributes
    ----------
    sha256
        Of the file.
    path
        Where it lies.
    shape
        How large it is, in words.
    fits
        The presets whose streams can start from it.
    """

    sha256: str
    path: Path
    shape: str
    fits: tuple[str, ...]


def import_backbone(source: Path, places: Places) -> ImportedBackbone:
    """Check a file, copy it into the models' folder and return what it is.

    Raises
    ------
    BackboneError
        If it holds no pre-activation ResNet.
    OSError
        If it cannot be read or copied.
    """
    from breastai_model.network.imported_backbone import backbone_shape

    backbone_shape(source)
    sha256 = sha256_of(source)
    target = places.models / FOLDER / f"{sha256}.safetensors"
    if not target.is_file() or sha256_of(target) != sha256:
        replace_file(target, lambda path: _copy(source, path))
    return _described(target)


def imported_backbones(places: Places) -> tuple[ImportedBackbone, ...]:
    """Return the backbones that are there; a file that is none is passed over."""
    from breastai_model.network.imported_backbone import BackboneError

    found = []
    for path in sorted((places.models / FOLDER).glob("*.safetensors")):
        try:
            if _NAME.fullmatch(path.stem):
                found.append(_described(path))
        except (BackboneError, OSError):
            continue
    return tuple(found)


def backbone_file(sha256: str, places: Places) -> Path:
    """Return where the backbone that a plan names lies.

    Raises
    ------
    BackboneMissing
        If it is not among the imported ones.
    """
    path = places.models / FOLDER / f"{sha256}.safetensors"
    if not _NAME.fullmatch(sha256) or not path.is_file():
        raise BackboneMissing(
            f"The plan starts from the backbone {sha256[:12]}…, which is not here: import it with breastai models import-imagenet FILE."
        )
    return path


def _described(path: Path) -> ImportedBackbone:
    from breastai_model.network.imported_backbone import BackboneShape, backbone_shape
    from breastai_model.recipe import PRESETS

    shape = backbone_shape(path)
    fits = (name for name, recipe in PRESETS.items() if shape == BackboneShape(recipe.width, recipe.depths, recipe.stem_kernel))
    return ImportedBackbone(path.stem, path, str(shape), tuple(fits))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
