"""Measures of finished models. One file each; a measure of your own is a class and a file in conf/measure."""

# ruff: noqa: E402
from memlab.processes.quick import import_torchmetrics

import_torchmetrics()

from memlab.measures.base import Measure as Measure, Result as Result, Subject as Subject
from memlab.measures.capacity import Capacity as Capacity
from memlab.measures.greedy import Greedy as Greedy
from memlab.measures.samples import Samples as Samples
from memlab.measures.score import Score as Score
