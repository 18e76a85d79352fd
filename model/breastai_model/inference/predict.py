"""One case through one model: probabilities, heatmaps, whether it is like what the model has seen, and on what it ran."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from breastai_model.case import STREAMS, TASKS, Heatmaps, InDistribution, Prediction, TaskPrediction
from breastai_model.inference.contribution import contributions, even_odds, mean_of, scaled
from breastai_model.inference.devices import choose_device, gave_up, set_threads
from breastai_model.inference.engines import EngineError, for_inference, with_openvino
from breastai_model.inference.golden import TOLERANCE, golden_error
from breastai_model.inference.heatmap import ALL_STAGES, LAST_STAGE, StreamMaps, averaged, put_back, put_back_phases, read_maps
from breastai_model.inference.input_checks import input_faults
from breastai_model.inference.preview import with_bfloat16
from breastai_model.inference.stage_means import StageMeans, reading_of
from breastai_model.inference.uniform import uniform_response
from breastai_model.prepare import collate, prepare
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.calibration import Scope
    from breastai_model.case import Case, Contributions, PhaseHeatmaps
    from breastai_model.inference.in_distribution import Reading
    from breastai_model.inference.uniform import UniformResponse
    from breastai_model.network.net import BreastNet, Output
    from breastai_model.prepare import Prepared

    Tell = Callable[[float, str], None]

Engine = Literal["torch", "openvino", "preview"]
"""What computes: torch; OpenVINO in float32 where that is possible; or torch with the encoders in bfloat16, for a quick look."""
MapDepth = Literal["all", "last", "none"]
"""Heatmaps from all stages; from the last alone, coarse and nearly free; or none."""
Pass = Literal[MapDepth, "phases"]
"""What one pass gives besides the answer: those, or the MRI's maps of all stages phase by phase."""
EMPTY_PASSES: dict[Pass, float] = {"all": 9.0, "phases": 9.0, "last": 4.0}
"""How many times as long as `uniform_response` a patient with maps takes: that is a third of a forward pass, all maps about three."""

NO_RESULT = "The model produced no valid result for this case: no number is shown."


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
    engine
        "torch"; "openvino" for the encoders of answers without maps of all stages, on the CPU; or "preview" for answers
        without maps, on the CPU, whose `Prediction.precision` is then "bfloat16" and which are for no report. Where one of the
        two cannot be used, `Prediction.device_note` says why.

    Raises
    ------
    WeightsError
        If the file cannot be used.
    PredictError
        If the model does not compute here what it computed where it was saved.
    ValueError
        If there is no such device.
    """

    def __init__(
        self,
        weights_path: Path | str,
        device: str = "auto",
        expected_sha256: str | None = None,
        engine: Engine = "torch",
    ) -> None:
        weights = read_weights(weights_path, expected_sha256)
        self.name = weights.name
        self.version = weights.version
        self.sha256 = weights.sha256
        self.recipe = weights.recipe
        self.calibration = weights.calibration
        self.distribution = weights.distribution
        self.threads = set_threads()
        self.net = for_inference(weights.net)
        self._golden = weights.golden
        chosen = choose_device(device, needed_bytes(self.net))
        self.device, self.device_note = chosen.name, chosen.note
        self._move()
        self._test_itself()
        self._uniform: tuple[str, UniformResponse] | None = None
        self._empty_seconds = 0.0
        self._fast: tuple[BreastNet, str] | None = None
        self._fast_maps: tuple[Pass, ...] = ("none",) if engine == "preview" else ("none", "last")
        self._precision = "bfloat16" if engine == "preview" else "float32"
        if engine != "torch":
            self._choose_engine(engine)

    def _choose_engine(self, engine: Engine) -> None:
        """Take the engine that was asked for, or note why not."""
        name = "OpenVINO" if engine == "openvino" else "The fast preview"
        if self.device != "cpu":
            self.device_note = f"{self.device_note} {name} is for the CPU: computed by torch.".strip()
            return
        try:
            self._fast = with_openvino(self.net, self.threads) if engine == "openvino" else with_bfloat16(self.net, self._thresholds())
        except EngineError as error:
            self.device_note = f"{self.device_note} {error}".strip()

    def _thresholds(self) -> tuple[float, ...]:
        return self.recipe.thresholds if self.calibration is None else tuple(self.calibration.threshold("both", task) for task in TASKS)

    def _move(self) -> None:
        try:
            self.net.to(self.device)
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            self._fall_back(error)

    def _test_itself(self) -> None:
        """Compare the golden case with what was stored; a GPU that fails gives way to the CPU, a CPU that fails to no answer."""
        if self._golden is None:
            return
        try:
            with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
                error = golden_error(self.net, self._golden, self.device)
        except RuntimeError as failure:
            if self.device == "cpu":
                raise
            self._fall_back(failure)
            error = golden_error(self.net, self._golden, self.device)
        if error > TOLERANCE[self.device] and self.device != "cpu":
            self._fall_back(RuntimeError(f"its self-test is off by {error:.1e}"))
            error = golden_error(self.net, self._golden, self.device)
        if math.isinf(error):
            raise PredictError("The model produced no valid result in its self-test: it cannot be used on this computer.")
        if error > TOLERANCE[self.device]:
            raise PredictError(
                f"The model computes something else here than where it was made (a logit is off by {error:.1e}): "
                "it cannot be used on this computer."
            )

    def _fall_back(self, error: RuntimeError) -> None:
        self.device_note = gave_up("GPU", error)
        self.device = "cpu"
        self.net.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def predict(self, case: Case, tell: Tell | None = None, maps: MapDepth = "all") -> Prediction:
        """Return the model's answer for a case.

        Parameters
        ----------
        case
            The input.
        tell
            Called with a fraction 0 to 1 and what is being done. What it raises ends the prediction.
        maps
            Which heatmaps.

        Raises
        ------
        PredictError
            If a modality is missing that the model needs, or the answer is no number.
        ValueError
            If the MRI's geometry or values cannot be used.
        """
        start = time.perf_counter()
        say = tell if tell is not None else _silent
        prepared = self._prepared(case, say)
        odds, found, readings = self._read_somewhere(prepared, say, maps)
        say(0.95, "Placing the heatmaps")
        scope = _scope(prepared)
        lymph_node, grade, ki67 = (self._answer(scope, task, odds) for task in range(len(TASKS)))
        heatmaps = put_back(prepared, found) if found is not None else _no_maps()
        verdict = self._verdict(case, prepared, readings)
        say(1.0, "Done")
        return Prediction(
            lymph_node_metastasis=lymph_node,
            high_grade=grade,
            high_ki67=ki67,
            heatmaps=heatmaps,
            inputs=prepared.inputs,
            device=self.device,
            device_note=self.device_note,
            engine=self._engine(maps)[1],
            precision=self._precision if self._uses_fast(maps) else "float32",
            seconds=time.perf_counter() - start,
            distribution=verdict,
        )

    def contributions(self, case: Case, tell: Tell | None = None) -> Contributions:
        """Return what each modality, phase and angle adds to the answer's log-odds; see `breastai_model.inference.contribution`.

        Where the side is unknown it is the mean over both orders of the breasts.

        Raises
        ------
        PredictError, ValueError
            As `predict` does.
        """
        say = tell if tell is not None else _silent
        prepared = self._prepared(case, say)
        base = even_odds() if self.distribution is None else np.asarray(self.distribution.law.typical_odds)
        orders = [prepared, prepared.swapped()] if prepared.both_orders else [prepared]
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            net = self.net if self._precision == "bfloat16" else self._engine("none")[0]
            found = [contributions(net, order, base, lambda done: say(0.2 + 0.8 * done, "Weighing the inputs")) for order in orders]
        whole = found[0] if len(found) == 1 else mean_of(*found)
        numbers = [value for part in (whole.base, whole.mri, whole.ultrasound) if part is not None for value in part]
        if not all(map(math.isfinite, numbers)):
            raise PredictError(NO_RESULT)
        scope = _scope(prepared)
        return scaled(whole, [1 / self._temperature(scope, task) for task in range(len(TASKS))])

    def phase_heatmaps(self, case: Case, tell: Tell | None = None) -> PhaseHeatmaps:
        """Return the MRI's heatmaps of each single phase, all on one scale; see `breastai_model.inference.heatmap.read_maps`.

        Where the side is unknown they are the means over both orders of the breasts.

        Raises
        ------
        PredictError
            As `predict` does; and where there is no MRI, or the model's phases enter together.
        ValueError
            As `predict` does.
        """
        say = tell if tell is not None else _silent
        if self.recipe.layout == "channels":
            raise PredictError("This model reads all phases of the MRI together: it has no heatmap of a single phase.")
        prepared = self._prepared(case, say)
        _, found, _ = self._read_somewhere(prepared, say, "phases")
        maps = None if found is None else put_back_phases(prepared, found)
        if maps is None:
            raise PredictError("There is no MRI in this answer, so there is no heatmap of a phase.")
        say(1.0, "Done")
        return maps

    def _prepared(self, case: Case, say: Tell) -> Prepared:
        say(0.0, "Preparing the images")
        if not self.recipe.modality_dropout and (case.dce is None or not case.ultrasound):
            missing = "MRI" if case.dce is None else "ultrasound"
            raise PredictError(f"This model was not trained to answer without {missing}: add the {missing} or choose another model.")
        return prepare(case, self.recipe)

    def _engine(self, maps: Pass) -> tuple[BreastNet, str]:
        """Return the network to run and what computes it."""
        if self._uses_fast(maps) and self._fast is not None:
            return self._fast
        return self.net, f"torch {torch.__version__}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def _uses_fast(self, maps: Pass) -> bool:
        return self._fast is not None and maps in self._fast_maps and self.device == "cpu"

    def _read_somewhere(self, prepared: Prepared, say: Tell, maps: Pass) -> tuple[torch.Tensor, StreamMaps | None, list[Reading]]:
        """Return what `_read` does; where a GPU gives up, on the CPU."""
        try:
            return self._read(prepared, say, maps)
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            self._fall_back(error)
            return self._read(prepared, say, maps)

    def _read(self, prepared: Prepared, say: Tell, maps: Pass) -> tuple[torch.Tensor, StreamMaps | None, list[Reading]]:
        """Return the log-odds of each order of the breasts (1 or 2, task), the maps, and what the check needs of each order."""
        orders = [prepared, prepared.swapped()] if prepared.both_orders else [prepared]
        net = self._engine(maps)[0]
        odds, found, readings = [], [], []
        words = self._reading_words(len(orders), maps)
        say(0.15, words)

        def within(first: float, share: float) -> Callable[[float], None]:
            return lambda done: say(first + share * done, words)

        for number, order in enumerate(orders):
            first, share = 0.15 + 0.8 * number / len(orders), 0.8 / len(orders)
            means = StageMeans()
            with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
                output, streams = self._pass(net, order, maps, means, within(first, share))
            logits = output.logits[0].detach().cpu().double()
            odds.append(logits[:, 1] - logits[:, 0])
            if not bool(torch.isfinite(logits).all()):
                raise PredictError(NO_RESULT)
            readings.append(reading_of(order, output, means))
            if streams is not None:
                found.append(streams)
        whole = None if not found else found[0] if len(found) == 1 else averaged(found[0], found[1])
        return torch.stack(odds), whole, readings

    def _reading_words(self, orders: int, maps: Pass) -> str:
        """Return what is being done, on the CPU with about how long it takes: so many times as long as empty pictures took."""
        if self.device != "cpu" or maps == "none":
            return "Reading the images"
        self._uniform_response()
        return f"Reading the images on the CPU, about {max(1, round(orders * EMPTY_PASSES[maps] * self._empty_seconds))} s"

    def _pass(
        self, net: BreastNet, order: Prepared, maps: Pass, means: StageMeans, tell: Callable[[float], None]
    ) -> tuple[Output, StreamMaps | None]:
        batch = collate([order]).to(self.device)
        if maps != "none":
            stages = LAST_STAGE if maps == "last" else ALL_STAGES
            return read_maps(net, batch, tell, stages, means, self._uniform_response(), by_phase=maps == "phases")
        with torch.inference_mode():
            output: Output = net(batch, means)
        tell(1.0)
        return output, None

    def _uniform_response(self) -> UniformResponse:
        """Return what the network answers to empty pictures, computed once for each device."""
        if self._uniform is None or self._uniform[0] != self.device:
            start = time.perf_counter()
            self._uniform = self.device, uniform_response(self.net)
            self._empty_seconds = time.perf_counter() - start
        return self._uniform[1]

    def _temperature(self, scope: Scope, task: int) -> float:
        if self.calibration is None:
            return self.recipe.temperatures[task]
        return self.calibration.of(scope, TASKS[task]).temperature

    def _answer(self, scope: Scope, task: int, odds: torch.Tensor) -> TaskPrediction:
        """Return the mean probability over the orders of the breasts, calibrated where the weights carry a calibration.

        With conformal sets the only answer that remains is the decision; where both or none remain it is not determined.
        """
        probability = float(torch.sigmoid(odds[:, task] / self._temperature(scope, task)).mean())
        if self.calibration is None:
            threshold = self.recipe.thresholds[task]
            return TaskPrediction(probability, None, None, threshold, "positive" if probability >= threshold else "negative")
        name = TASKS[task]
        whole = float(odds[0, task])
        if len(odds) > 1:  # the mean of the orders as one log-odds: set, threshold and probability speak of the same number
            whole = float(torch.logit(torch.tensor(probability, dtype=torch.float64), eps=1e-12)) * self._temperature(scope, task)
        return TaskPrediction(
            probability=probability,
            spread=None,
            prediction_set=self.calibration.prediction_set(scope, name, whole),
            threshold=self.calibration.threshold(scope, name),
            decision=self.calibration.decision(scope, name, whole),
            calibrated=True,
        )

    def _verdict(self, case: Case, prepared: Prepared, readings: list[Reading]) -> InDistribution | None:
        """Return whether the case is like what the model has seen; None where nothing is known of that and nothing is wrong.

        With the side unknown one of the two orders shows the healthy breast as the affected one, which no case of the training did: the
        nearer order counts, so that the verdict does not depend on which breast stands first.
        """
        faults = input_faults(case, prepared)
        if self.distribution is not None:
            return min((self.distribution.judge(reading, faults) for reading in readings), key=lambda verdict: verdict.distance or 0.0)
        return InDistribution(inside=False, distance=None, threshold=1.0, reasons=faults) if faults else None


def _silent(_fraction: float, _text: str) -> None:
    pass


def _scope(prepared: Prepared) -> Scope:
    """Return which modalities the network was given."""
    if not prepared.us_present.any():
        return "mri"
    return "both" if prepared.mri_present.any() else "us"


def _no_maps() -> Heatmaps:
    return Heatmaps(None, None, None, None, None, (), dict.fromkeys(STREAMS, 0.0))


def needed_bytes(net: BreastNet) -> int:
    """Return a generous guess of a prediction's memory: the weights and, three times, the first stage's activations."""
    recipe = net.recipe
    weights = sum(parameter.numel() for parameter in net.parameters())
    slices, rows, columns = recipe.mri_shape
    cells = recipe.phases * 2 * slices * rows * columns // 4 + recipe.angles * recipe.us_shape[0] * recipe.us_shape[1] // 4
    return 4 * (weights + 3 * cells * 4 * recipe.width)
