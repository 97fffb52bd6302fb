"""Look after a runs folder: python -m memlab.runs list|show|gc|verify (memlab/runs/__main__.py)."""
