"""The program's own training on image phantoms, stopped and gone on with like any other run."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from breastai_model.proof.pieces import OutOfTime
from breastai_model.run_folder import RunFolder
from breastai_model.training.train import Training
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from breastai_model.network.net import BreastNet
    from breastai_model.plan import Plan
    from breastai_model.proof.pieces import Bench
    from breastai_model.training.dataset import CaseFiles


def trained_net(name: str, plan: Plan, cases: CaseFiles, bench: Bench) -> BreastNet:
    """Return the network of that plan, trained on these cases now where it was not, in eval mode.

    Raises
    ------
    OutOfTime
        When the time of this call is over; the run is saved and goes on in the next.
    """
    run = RunFolder(bench.folder / "runs" / name)
    if not run.has_plan():
        run.create(plan, {"cases": len(cases)})
    elif json.dumps(run.plan().to_json()) != json.dumps(json.loads(json.dumps(plan.to_json()))):
        raise ValueError(f"The training {name} in this folder had another plan: choose another folder, or delete {run.name} below runs.")
    if run.result() is None:
        run.clear_stop()
        with _paused_after(bench.left_s(), run):
            Training(run, cases).run()
        run.clear_stop()
        if run.result() is None:
            raise OutOfTime
    return read_weights(run.model).net.eval()


@contextmanager
def _paused_after(seconds: float, run: RunFolder) -> Iterator[None]:
    """Ask the training to save and end after so many seconds."""
    timer = threading.Timer(seconds, run.ask_to_stop, ("pause",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
