"""`breastai models`: the card of a model, and what a training run may start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from breastai_gui.services.backbones import ImportedBackbone
    from breastai_gui.services.places import Places


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    models = commands.add_parser("models", help="show a model's card, import a pretrained backbone of your own, or list the imported ones")
    actions = models.add_subparsers(dest="action", metavar="action", required=True)
    brought = actions.add_parser(
        "import-imagenet",
        help="let training start from a pre-activation ResNet-50 of your own",
        description="Checks and copies a file; nothing is downloaded. The ultrasound streams start from it as it is, with its colours "
        "summed to grey, the MRI streams with its kernels repeated along the slices. A plan names it by its SHA-256 (start_from).",
    )
    brought.add_argument(
        "file", type=Path, metavar="FILE.safetensors", help="a state dict with the names of timm's resnetv2_50, batch normalisation"
    )
    actions.add_parser("list", help="list the imported backbones")
    card = actions.add_parser("card", help="show what a model learnt from, what was measured, and its limits")
    card.add_argument("file", type=Path, nargs="?", metavar="FILE.safetensors", help="a weights file (the model in use)")


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:
    """Do what is asked and return the exit code."""
    from breastai_gui.services.backbones import import_backbone, imported_backbones

    if options.action == "card":
        _say_card(options.file, places, say)
        return 0
    if options.action == "import-imagenet":
        backbone = import_backbone(options.file, places)
        say(f"Imported a pre-activation ResNet: {_described(backbone)}.")
        say(f"SHA-256 {backbone.sha256}")
        say(f'A training plan starts from it with "start_from": "{backbone.sha256}".')
        return 0
    found = imported_backbones(places)
    for backbone in found:
        say(f"{backbone.sha256}  {_described(backbone)}")
    if not found:
        say("No backbone was imported yet: breastai models import-imagenet FILE.safetensors")
    return 0


def _say_card(file: Path | None, places: Places, say: Callable[[str], None]) -> None:
    from breastai_gui.services.models import Models
    from breastai_model.weights import read_weights

    active = Models(places).active() if file is None else None
    weights = read_weights(active.path, active.sha256) if active is not None else read_weights(file or "")
    say(f"{weights.name} {weights.version}, SHA-256 {weights.sha256}")
    say(weights.card or f"{weights.intended_use} The file holds no card.")


def _described(backbone: ImportedBackbone) -> str:
    presets = " and ".join(backbone.fits)
    return f"{backbone.shape}; for the preset {presets}" if presets else f"{backbone.shape}; for no preset, only for a recipe of that size"
