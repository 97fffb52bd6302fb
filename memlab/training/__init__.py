"""Training: one stage from its last checkpoint to its weights, and chains of stages."""

# ruff: noqa: E402
from memlab.processes.quick import import_torchmetrics

import_torchmetrics()

from memlab.training.loggers import NoLogger, RunLogger
from memlab.training.rates import Constant, LinearDecay
from memlab.training.wandb_runs import WandbRuns

__all__ = ["Constant", "LinearDecay", "NoLogger", "RunLogger", "WandbRuns"]
