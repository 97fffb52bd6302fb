"""Lightning: the module around a model and its objective, callbacks, checkpoints, loggers."""
