"""One case through one model: probabilities, heatmaps, what was used and on what it ran."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from breastai_model.case import TASKS, Prediction, TaskPrediction
from breastai_model.inference.devices import choose_device, gave_up, set_threads
from breastai_model.inference.heatmap import StreamMaps, averaged, put_back, read_maps
from breastai_model.network.resnet_v2 import Bottleneck
from breastai_model.prepare import collate, prepare
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.case import Case
    from breastai_model.network.net import BreastNet
    from breastai_model.prepare import Prepared


class PredictError(ValueError):
    """The model gives no answer for this case; the text is one sentence."""


class Predictor:
    """A model that was read once and answers one case at a time, always in a batch of one.

    Parameters
    ----------
    weights_path
        A weights file.
    device
        "auto" (CUDA, else MPS, else CPU), "cuda", "mps" or "cpu". What cannot run on a GPU runs on the CPU, and
        `Prediction.device_note` says why.
    expected_sha256
        If given, a file with another hash is refused.

    Raises
    ------
    WeightsError
        If the file cannot be used.
    ValueError
        If there is no such device.
    """

    def __init__(self, weights_path: Path | str, device: str = "auto", expected_sha256: str | None = None) -> None:
        weights = read_weights(weights_path, expected_sha256)
        self.name = weights.name
        self.version = weights.version
        self.sha256 = weights.sha256
        self.recipe = weights.recipe
        self.threads = set_threads()
        self.net = fold_norms(weights.net)
        self.net.mri.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.net.us.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        chosen = choose_device(device, needed_bytes(self.net))
        self.device, self.device_note = chosen.name, chosen.note
        self._move()

    def _move(self) -> None:
        try:
            self.net.to(self.device)
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            self._fall_back(error)

    def _fall_back(self, error: RuntimeError) -> None:
        self.device_note = gave_up("GPU", error)
        self.device = "cpu"
        self.net.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def predict(self, case: Case, tell: Callable[[float, str], None] | None = None) -> Prediction:
        """Return the model's answer for a case.

        Parameters
        ----------
        case
            The input.
        tell
            Called with a fraction 0 to 1 and what is being done. What it raises ends the prediction.

        Raises
        ------
        PredictError
            If a modality is missing that the model needs, or the answer is no number.
        ValueError
            If the MRI's geometry or values cannot be used.
        """
        start = time.perf_counter()
        say = tell if tell is not None else _silent
        say(0.0, "Preparing the images")
        self._refuse_missing(case)
        prepared = prepare(case, self.recipe)
        say(0.15, "Reading the images")
        try:
            odds, maps = self._read(prepared, say)
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            self._fall_back(error)
            say(0.15, "Reading the images on the CPU")
            odds, maps = self._read(prepared, say)
        say(0.95, "Placing the heatmaps")
        lymph_node, grade, ki67 = (self._answer(task, odds) for task in range(len(TASKS)))
        heatmaps = put_back(prepared, maps)
        say(1.0, "Done")
        return Prediction(
            lymph_node_metastasis=lymph_node,
            high_grade=grade,
            high_ki67=ki67,
            heatmaps=heatmaps,
            inputs=prepared.inputs,
            device=self.device,
            device_note=self.device_note,
            engine=f"torch {torch.__version__}, {self.threads} thread{'s' if self.threads > 1 else ''}",
            precision="float32",
            seconds=time.perf_counter() - start,
        )

    def _refuse_missing(self, case: Case) -> None:
        if self.recipe.modality_dropout or (case.dce is not None and case.ultrasound):
            return
        missing = "MRI" if case.dce is None else "ultrasound"
        raise PredictError(f"This model was not trained to answer without {missing}: add the {missing} or choose another model.")

    def _read(self, prepared: Prepared, say: Callable[[float, str], None]) -> tuple[torch.Tensor, StreamMaps]:
        """Return the log-odds of each order of the breasts (1 or 2, task) and the maps."""
        orders = [prepared, prepared.swapped()] if prepared.both_orders else [prepared]
        passes = []

        def within(first: float, share: float) -> Callable[[float], None]:
            return lambda done: say(first + share * done, "Reading the images")

        for number, order in enumerate(orders):
            first, share = 0.15 + 0.8 * number / len(orders), 0.8 / len(orders)
            batch = collate([order]).to(self.device)
            with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
                output, maps = read_maps(self.net, batch, within(first, share))
            passes.append((output.logits[0].detach().cpu().double(), maps))
        odds = torch.stack([logits[:, 1] - logits[:, 0] for logits, _ in passes])
        if not bool(torch.isfinite(odds).all()):
            raise PredictError("The model produced no valid result for this case: no number is shown.")
        return odds, passes[0][1] if len(passes) == 1 else averaged(passes[0][1], passes[1][1])

    def _answer(self, task: int, odds: torch.Tensor) -> TaskPrediction:
        """Return the mean probability over the orders of the breasts, calibrated by the recipe's temperature."""
        probability = float(torch.sigmoid(odds[:, task] / self.recipe.temperatures[task]).mean())
        threshold = self.recipe.thresholds[task]
        decision = "positive" if probability >= threshold else "negative"
        return TaskPrediction(probability, spread=None, prediction_set=None, threshold=threshold, decision=decision)  # type: ignore[arg-type]


def _silent(_fraction: float, _text: str) -> None:
    pass


def fold_norms(net: BreastNet) -> BreastNet:
    """Return the net with every batch norm that follows a convolution folded into it; for inference only.

    In a pre-activation bottleneck these are the second and the third. The sums stay the same up to rounding (1e-6).
    """
    for block in net.modules():
        if isinstance(block, Bottleneck):
            for conv, norm in (("conv1", "norm2"), ("conv2", "norm3")):
                follows = getattr(block, norm)
                if isinstance(follows, nn.BatchNorm2d | nn.BatchNorm3d):
                    setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), follows))
                    setattr(block, norm, nn.Identity())
    return net.requires_grad_(requires_grad=False)


def needed_bytes(net: BreastNet) -> int:
    """Return a generous guess of a prediction's memory: the weights and, three times, the first stage's activations."""
    recipe = net.recipe
    weights = sum(parameter.numel() for parameter in net.parameters())
    slices, rows, columns = recipe.mri_shape
    cells = recipe.phases * 2 * slices * rows * columns // 4 + recipe.angles * recipe.us_shape[0] * recipe.us_shape[1] // 4
    return 4 * (weights + 3 * cells * 4 * recipe.width)
