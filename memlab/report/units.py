"""How a metric is shown: accuracies in percent, everything else in its own unit."""

PUBLISHED = "published, full size"  # how numbers of the paper's own models are marked wherever they stand beside ours
_UNITS = {"cross_entropy": "nats per token", "seconds": "s", "tokens_per_second": "tokens/s"}


def plain_name(metric: str) -> str:
    """Without the table in front: clm/token_accuracy -> token_accuracy."""
    return metric.rpartition("/")[2]


def is_share(metric: str) -> bool:
    return metric.endswith("accuracy")


def shown(value: float, metric: str) -> float:
    """The value in the unit that is shown."""
    return 100 * value if is_share(metric) else value


def unit(metric: str) -> str:
    """Empty for what has none, or has it in its name."""
    return "%" if is_share(metric) else _UNITS.get(plain_name(metric), "")


def with_unit(name: str, metric: str) -> str:
    """`name (unit)`, for a table's head or an axis."""
    return f"{name} ({unit(metric)})" if unit(metric) else name


def title(metric: str) -> str:
    """A metric as a table's head: clm/token_accuracy -> clm token accuracy (%)."""
    return with_unit(metric.replace("/", " ").replace("_", " "), metric)


def number(value: float, metric: str, signed: bool = False) -> str:
    """With its decimals: one of a percentage, three of everything else; none from 100 on."""
    sign = "+" if signed else ""
    if is_share(metric):
        return f"{shown(value, metric):{sign}.1f}"
    return f"{value:{sign}.3f}" if abs(value) < 100 else f"{value:{sign},.0f}"
