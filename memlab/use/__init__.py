"""Finished models at work: load one, encode texts to memories, decode them, generate, score (docs/use.md).

Importing this package imports nothing; `memlab.load` is where to start.
"""
