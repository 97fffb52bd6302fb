"""memlab: a laboratory for memory models (Badger, arXiv 2602.13466)."""

__version__ = "0.1.0"
