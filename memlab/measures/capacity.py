"""What a chunk's memory holds beside the text that it stands for."""

from memlab.measures.base import Measure, Result, Subject
from memlab.measures.metrics import Capacity as CapacityMetric


class Capacity(Measure):
    """Floats and bits of a chunk's memory, and compression in tokens and in bits; of models with memories alone."""

    name = "capacity"

    def __call__(self, subject: Subject) -> Result:
        if not subject.model.memory_floats:
            return Result()
        metrics: dict[str, CapacityMetric] = {}
        for tokens_BT in subject.batches(self.windows):
            for table in subject.objective.tables(tokens_BT, subject.layout):
                byte_count = subject.scored_bytes(table.labels_BCL)
                if byte_count.any():
                    metric = metrics.setdefault(table.name, self._metric(subject))
                    metric.update(byte_count.cpu(), (table.labels_BCL >= 0).sum().cpu())
        return Result(
            metrics={
                table: {f"capacity/{name}": value for name, value in metric.compute().items()}
                for table, metric in metrics.items()
            }
        )

    def _metric(self, subject: Subject) -> CapacityMetric:
        return CapacityMetric(
            memory_floats=subject.model.memory_floats,
            chunk_length=subject.layout.length,
            vectors=max(1, subject.model.memories),
            bits_per_float=subject.model.float_bits,
            sync_on_compute=False,
        )
