"""Chains of stages, as tests of training have them."""

from tests.training.conftest import chain, one_thread

__all__ = ["chain", "one_thread"]
