"""How long a training step takes with so many threads, measured on random tokens."""

import time
from collections.abc import Callable

import torch

from memlab.config.instantiate import build
from memlab.config.stage import Stage
from memlab.objectives import Draw
from memlab.training.build import build_stage, layout_of

LEAST_STEPS = 3


def step_of(stage: Stage) -> Callable[[], None]:
    """Return a function that takes one optimizer step of a stage on the CPU, from random weights on random tokens."""
    training, layout = stage.training, layout_of(stage)
    model, objective = build_stage(stage)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = build(training["optimizer"])(trained)
    draw = Draw(progress=0.0, generator=torch.Generator())
    shape = training["batch_size"], objective.window(layout)

    def step() -> None:
        for _ in range(training["accumulate"]):
            loss, _ = objective.losses(model, torch.randint(stage.data["vocab"], shape), layout, draw=draw)
            loss.backward()
        if training["clip"]:
            torch.nn.utils.clip_grad_norm_(trained, training["clip"])
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds_per_step(stage: Stage, threads: int, least: float = 0.5) -> float:
    """Return the seconds of one optimizer step on the CPU with `threads` threads; steps are repeated for `least` s.

    The first step is not counted. The number of threads and the global random generator are left as they were.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            step = step_of(stage)
            step()
            steps, started = 0, time.perf_counter()
            while steps < LEAST_STEPS or time.perf_counter() - started < least:
                step()
                steps += 1
            return (time.perf_counter() - started) / steps
    finally:
        torch.set_num_threads(threads_before)
