"""Measures of finished models. One file each; a measure of your own is a class and a file in conf/measure."""

# ruff: noqa: E402
from memlab.processes.quick import import_torchmetrics

import_torchmetrics()

from memlab.measures.base import Measure, Result, Subject
from memlab.measures.capacity import Capacity
from memlab.measures.greedy import Greedy
from memlab.measures.optimum import Optimum
from memlab.measures.robustness import Robustness
from memlab.measures.samples import Samples
from memlab.measures.score import Score

__all__ = ["Capacity", "Greedy", "Measure", "Optimum", "Result", "Robustness", "Samples", "Score", "Subject"]
