"""Speed and memory, side by side with a plain implementation of how the published drivers compute.

python -m memlab.bench --against baseline --json bench.json
"""
