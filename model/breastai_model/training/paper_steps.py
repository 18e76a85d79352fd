"""Steps of the `paper` preset at its full size, timed, with their peak memory: ``python -m breastai_model.training.paper_steps``.

The images are random: time and memory do not depend on what they show. Activation checkpointing and micro-batches are what lets the
preset train within 24 GB; batch normalisation then sees one micro-batch at a time, and L_C one micro-batch and its memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from breastai_model.case import TASKS
from breastai_model.plan import plan_with
from breastai_model.prepare import Batch
from breastai_model.recipe import PRESETS, preset
from breastai_model.training.learner import Learner
from breastai_model.training.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from breastai_model.plan import Plan
    from breastai_model.recipe import Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps and print what they cost."""
    parser = argparse.ArgumentParser(prog="python -m breastai_model.training.paper_steps", description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="paper")
    parser.add_argument("--layout", choices=("sequence", "channels"), default="sequence")
    parser.add_argument("--losses", choices=("stable", "faithful"), default="stable")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--micro-batch", type=int, default=1, help="cases that pass the network at once; 0: all")
    parser.add_argument("--keep-activations", action="store_true", help="without activation checkpointing")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--mri-shape", type=int, nargs=3, metavar=("D", "H", "W"), help="another size of one breast, for a trial")
    parser.add_argument("--us-shape", type=int, nargs=2, metavar=("H", "W"), help="another size of one angle")
    options = parser.parse_args(arguments)
    recipe = preset(options.preset, layout=options.layout)
    if options.mri_shape:
        recipe = replace(recipe, mri_shape=tuple(options.mri_shape))
    if options.us_shape:
        recipe = replace(recipe, us_shape=tuple(options.us_shape))
    plan = plan_with(
        "paper steps",
        recipe,
        options.losses,
        batch_size=options.batch,
        micro_batch=options.micro_batch,
        checkpoint_activations=not options.keep_activations,
        device=options.device,
        precision=options.precision,
    )
    take_steps(plan, options.steps)
    return 0


def take_steps(plan: Plan, steps: int) -> list[float]:
    """Take steps on random cases, print seconds and peak memory of each, and return the seconds."""
    machine = Machine(plan.device, plan.precision, print)
    labels = torch.arange(plan.batch_size)[:, None].repeat(1, len(TASKS)) % 2
    learner = Learner(plan, machine, labels)
    weights = sum(parameter.numel() for parameter in learner.net.parameters())
    print(
        f"{plan.recipe.preset}, {plan.recipe.layout}, {weights / 1e6:.1f} M weights, MRI {plan.recipe.mri_shape} a breast, ultrasound "
        f"{plan.recipe.us_shape}, batch {plan.batch_size}, {plan.micro_batch or plan.batch_size} at a time, activations "
        f"{'computed again' if plan.checkpoint_activations else 'kept'}, {machine.device}, {machine.precision}, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    batch = _random_batch(plan.recipe, plan.batch_size).to(machine.device)
    took = []
    for step in range(1, steps + 1):
        begun = time.monotonic()
        losses = learner.step(
            batch,
            labels.to(machine.device),
            torch.arange(plan.batch_size, device=machine.device),
            rate=plan.learning_rate,
            ramp=1.0,
            encoders=True,
            micro_batch=plan.micro_batch,
        )
        if machine.device.type == "cuda":
            torch.cuda.synchronize()
        took.append(time.monotonic() - begun)
        said = "skipped" if losses is None else f"L_f {losses['L_f']:.3f}, L_cls {losses['L_cls']:.3f}"
        print(f"step {step}: {took[-1]:.1f} s, {said}; {_peak(machine.device)}", flush=True)
    print(f"{len(took)} steps, {sum(took):.1f} s, median {sorted(took)[len(took) // 2]:.1f} s", flush=True)
    machine.close()
    return took


def _random_batch(recipe: Recipe, cases: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        torch.rand(cases, recipe.phases, 2, *recipe.mri_shape, generator=generator),
        torch.ones(cases, recipe.phases, 2, dtype=torch.bool),
        torch.rand(cases, recipe.angles, *recipe.us_shape, generator=generator),
        torch.ones(cases, recipe.angles, dtype=torch.bool),
    )


def _peak(device: torch.device) -> str:
    """Return the largest memory so far, in words."""
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    text = f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
    if device.type == "cuda":
        text += f", of the card {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB"
    return text


if __name__ == "__main__":
    raise SystemExit(main())
