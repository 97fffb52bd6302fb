"""How a metric is shown: accuracies in percent, everything else in its own unit."""

PUBLISHED = "published, full size"  # marks numbers of the paper's own models beside ours
HARNESS_SHARES = ("acc", "acc_norm")  # as the lm-evaluation-harness names accuracies
_UNITS = {"cross_entropy": "nats per token", "seconds": "s", "tokens_per_second": "tokens/s", "peak_memory": "MiB"}


def plain_name(metric: str) -> str:
    """Return the metric without its table: clm/token_accuracy -> token_accuracy."""
    return metric.rpartition("/")[2]


def is_share(metric: str) -> bool:
    return metric.endswith("accuracy") or plain_name(metric) in HARNESS_SHARES


def shown(value: float, metric: str) -> float:
    """Return the value in the unit that is shown."""
    return 100 * value if is_share(metric) else value


def unit(metric: str) -> str:
    """Return the unit; empty for a metric that has none, or has it in its name."""
    return "%" if is_share(metric) else _UNITS.get(plain_name(metric), "")


def with_unit(name: str, metric: str) -> str:
    """Return `name (unit)`, for a table's head or an axis."""
    return f"{name} ({unit(metric)})" if unit(metric) else name


def title(metric: str) -> str:
    """Return a metric as a table's head: clm/token_accuracy -> clm token accuracy (%)."""
    return with_unit(metric.replace("/", " ").replace("_", " "), metric)


def number(value: float, metric: str, signed: bool = False) -> str:
    """Return the value as text: one decimal for percentages, three for the rest, none from 100 on."""
    sign = "+" if signed else ""
    if is_share(metric):
        return f"{shown(value, metric):{sign}.1f}"
    return f"{value:{sign}.3f}" if abs(value) < 100 else f"{value:{sign},.0f}"
