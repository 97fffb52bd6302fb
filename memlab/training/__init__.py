"""Training: one stage from its last checkpoint to its weights, and chains of stages."""

from memlab.training.loggers import NoLogger, WandbRuns
from memlab.training.rates import Constant, LinearDecay

__all__ = ["Constant", "LinearDecay", "NoLogger", "WandbRuns"]
