"""The process that owns torch: it may die or be killed at any moment, and the window only ever reads a sentence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.services.assess import case_of
from breastai_gui.services.models import InstalledModel, sha256_of
from breastai_gui.services.predicting import PredictError, PredictingProcess, PredictingStopped, _sentence, receive, send
from breastai_gui.services.session import Choices
from breastai_model.case import TASKS, Case
from phantoms import simple_study

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def predicting() -> Iterator[PredictingProcess]:
    """One process for all tests, for each start imports torch; whoever ends it leaves a live one behind, or the next call starts one."""
    with PredictingProcess() as process:
        yield process


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> InstalledModel:
    """A network of the smallest kind with chance weights: real in every way but what it learnt."""
    import torch

    from breastai_model.network.net import BreastNet
    from breastai_model.recipe import preset
    from breastai_model.weights import save_weights

    torch.manual_seed(3)
    recipe = preset("tiny")
    path = tmp_path_factory.mktemp("weights") / "chance.safetensors"
    save_weights(path, BreastNet(recipe), recipe, {}, "chance", "0")
    return InstalledModel("chance", "0", path, sha256_of(path), "synthetic")


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(simple_study(phases=2, views=2), Choices(), "joint")


def test_the_answer_of_the_process_is_the_model_s_own(predicting: PredictingProcess, model: InstalledModel, case: Case) -> None:
    from breastai_model.inference.predict import Predictor

    told: list[tuple[float, str]] = []
    answer = predicting.predict(model, case, "cpu", lambda fraction, text: told.append((fraction, text)))
    own = Predictor(model.path, device="cpu", expected_sha256=model.sha256).predict(case)
    assert [answer.task(task).probability for task in TASKS] == pytest.approx([own.task(task).probability for task in TASKS], abs=1e-4)
    assert answer.heatmaps.mri_agnostic is not None
    assert own.heatmaps.mri_agnostic is not None
    assert answer.heatmaps.mri_agnostic.shape == own.heatmaps.mri_agnostic.shape
    assert told
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_what_each_input_added_comes_from_the_same_process(predicting: PredictingProcess, model: InstalledModel, case: Case) -> None:
    answer = predicting.predict(model, case, "cpu", maps="none", engine="preview")
    assert answer.precision == "bfloat16" or answer.device_note.endswith(": computed in float32."), (
        "the engine that was asked for, or why not"
    )
    answer = predicting.predict(model, case, "cpu", maps="none")
    assert (answer.precision, answer.device_note) == ("float32", "")
    assert answer.heatmaps.mri_agnostic is None
    found = predicting.contributions(model, case, "cpu")
    assert found.mri is not None
    assert found.ultrasound is not None
    odds = found.base[0] + found.mri[0] + found.ultrasound[0]
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(answer.lymph_node_metastasis.probability, abs=1e-4)
    assert len(found.phases) == 2
    assert len(found.angles) == 2
    maps = predicting.phase_heatmaps(model, case, "cpu")
    assert maps.phases == answer.inputs.phases
    assert maps.mri_agnostic.shape[:2] == (4, 2)
    with pytest.raises(PredictError, match="no MRI"):
        predicting.phase_heatmaps(model, replace(case, dce=None, dce_scale=None, dce_affine=None, dce_times_s=None), "cpu")


def test_g5_a_process_that_is_killed_gives_one_sentence_and_the_next_call_works(
    predicting: PredictingProcess, model: InstalledModel, case: Case
) -> None:
    def kill(*_: object) -> None:
        assert predicting._process is not None
        predicting._process.kill()

    with pytest.raises(PredictError, match="memory ran out"):
        predicting.predict(model, case, "cpu", kill)
    assert predicting.predict(model, case, "cpu").high_grade.probability <= 1


def test_g6_stop_from_anywhere_ends_a_prediction_at_once(predicting: PredictingProcess, model: InstalledModel, case: Case) -> None:
    def stop(*_: object) -> None:
        begun.append(time.monotonic())
        predicting.stop()

    begun: list[float] = []
    with pytest.raises(PredictingStopped):
        predicting.predict(model, case, "cpu", stop)
    assert time.monotonic() - begun[0] < 2
    assert predicting.predict(model, case, "cpu").high_grade.probability <= 1


def test_a_caller_that_gives_up_does_not_get_the_old_answer_next_time(
    predicting: PredictingProcess, model: InstalledModel, case: Case
) -> None:
    class GivenUp(Exception):
        pass

    def give_up(*_: object) -> None:
        raise GivenUp

    with pytest.raises(GivenUp):
        predicting.predict(model, case, "cpu", give_up)
    only_ultrasound = case_of(simple_study(phases=0, views=2), Choices(), "ultrasound")
    answer = predicting.predict(model, only_ultrasound, "cpu")
    assert answer.heatmaps.mri_agnostic is None
    assert answer.inputs.phases == ()


def test_w3_one_flipped_bit_in_the_weights_is_refused(
    predicting: PredictingProcess, model: InstalledModel, case: Case, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(model.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    import dataclasses

    with pytest.raises(PredictError, match=r"(?i)damaged.*sha-?256|sha-?256.*damaged"):
        predicting.predict(dataclasses.replace(model, path=damaged), case, "cpu")
    with pytest.raises(PredictError):
        predicting.predict(dataclasses.replace(model, path=tmp_path / "gone.safetensors"), case, "cpu")
    assert predicting.predict(model, case, "cpu").high_grade.probability <= 1


def test_running_out_of_memory_is_said_in_plain_words() -> None:
    assert "not enough memory" in _sentence(MemoryError())
    assert "\n" not in _sentence(RuntimeError("CUDA error: unspecified\nCompile with TORCH_USE_CUDA_DSA"))


@dataclass(frozen=True)
class Parcel:
    big: np.ndarray
    turned: np.ndarray
    words: str


def test_arrays_travel_unchanged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("breastai_gui.services.predicting.CHUNK_BYTES", 1000)
    generator = np.random.default_rng(1)
    parcel = Parcel(generator.integers(0, 999, (3, 4, 50, 6), dtype=np.int16), generator.random((20, 30)).T, "中文")
    parcel.big.flags.writeable = False
    here, there = multiprocessing.Pipe()
    import threading

    sender = threading.Thread(target=send, args=(here, parcel))
    sender.start()
    arrived = receive(there)
    sender.join()
    assert np.array_equal(arrived.big, parcel.big)
    assert np.array_equal(arrived.turned, parcel.turned)
    assert arrived.words == parcel.words
    here.close()
    there.close()


@pytest.mark.skipif(not shutil.which("ps") or os.name != "posix", reason="looks for processes by SIGKILL and /proc")
def test_no_process_is_left_behind_when_the_window_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "window.py"
    script.write_text(
        "import time\n"
        "from breastai_gui.services.predicting import PredictingProcess\n"
        "if __name__ == '__main__':\n"
        "    process = PredictingProcess()\n"
        "    process.start()\n"
        "    print(process._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    window = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert window.stdout is not None
    child = int(window.stdout.readline())
    window.kill()
    window.wait()
    window.stdout.close()
    until = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
