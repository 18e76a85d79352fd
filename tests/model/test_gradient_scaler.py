"""float16's gradient scaler through bad batches; a processor has no use for it, but runs it all the same."""

import torch

from breastai_model.plan import plan_with
from breastai_model.prepare import Batch
from breastai_model.recipe import preset
from breastai_model.training.learner import Learner
from breastai_model.training.machine import Machine

RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16))


def a_batch(*, bad: bool) -> Batch:
    chance = torch.Generator().manual_seed(1)
    mri = torch.rand(3, 5, 2, 4, 16, 16, generator=chance)
    if bad:
        mri[0] = float("nan")
    present = torch.ones(3, 5, 2, dtype=torch.bool), torch.ones(3, 12, dtype=torch.bool)
    return Batch(mri, present[0], torch.rand(3, 12, 16, 16, generator=chance), present[1])


def test_a_bad_batch_is_skipped_and_lowers_the_scale_and_the_next_one_is_learnt_from() -> None:
    machine = Machine("cpu", "float32")
    machine.scaler = torch.amp.GradScaler("cpu")
    learner = Learner(plan_with("x", RECIPE, "stable", device="cpu"), machine, torch.zeros(3, 3, dtype=torch.long))
    labels, groups = torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), torch.arange(3)
    weight = next(learner.net.heads.parameters())
    scales, learnt = [], []
    for bad in (False, True, True, False):
        before = weight.detach().clone()
        parts = learner.step(a_batch(bad=bad), labels, groups, rate=1e-3, ramp=1.0, encoders=True)
        assert (parts is None) == bad
        learnt.append(not torch.equal(before, weight))
        scales.append(machine.scaler.get_scale())
    assert learnt == [True, False, False, True]
    assert scales[1] == scales[0] / 2
    assert scales[3] == scales[2] == scales[1] / 2
