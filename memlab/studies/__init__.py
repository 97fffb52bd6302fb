"""Models, measures and parts that single experiments need, written as a user's own would be.

Nothing in memlab imports this room: configs name its classes by `_target_` (docs/extending.md).
"""
