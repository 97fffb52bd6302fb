"""memlab's models under the lm-evaluation-harness (docs/use.md): python -m memlab.harness."""
