"""Training: one stage from its last checkpoint to its weights, and chains of stages."""

from memlab.training.loggers import NoLogger, RunLogger
from memlab.training.rates import Constant, LinearDecay
from memlab.training.wandb_runs import WandbRuns

__all__ = ["Constant", "LinearDecay", "NoLogger", "RunLogger", "WandbRuns"]
