"""What the config of somebody else's folder may name."""

from memlab.config.instantiate import locate
from memlab.use.trusted import OWN


def test_whatever_is_trusted_is_a_class_of_memlabs() -> None:
    for room, names in OWN.items():
        assert names
        for name in names:
            found = locate(f"{room}.{name}")
            assert isinstance(found, type) and found.__module__.startswith(room), name
