"""Speed and memory: side by side with a plain implementation of how the published drivers compute, and, for the
experiment throughput, of a sweep's arms in turns (session.py).

python -m memlab.bench --against baseline --json bench.json
"""
