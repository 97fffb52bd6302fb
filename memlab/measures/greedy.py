"""Greedy (free-running) decoding of what a model copies, beside the teacher-forced figures.

Teacher forcing shows the decoder the true token at every position, so that a model which only continues text well
scores, too. Here it reads its own likeliest tokens, within a chunk and, as memories, from chunk to chunk
(memlab/objectives/free_running.py).
"""

from torch import Tensor

from memlab.measures.base import Measure, Result, Subject
from memlab.measures.metrics import TokenAccuracy
from memlab.models import LanguageModel
from memlab.objectives import Counts, Layout, Objective, free_running


class Greedy(Measure):
    """Accuracy of greedy decoding (free_running_token_accuracy), of tables whose targets are visible as inputs."""

    name = "greedy"

    def __call__(self, subject: Subject) -> Result:
        accuracies: dict[str, TokenAccuracy] = {}
        for tokens_BT in subject.batches(self.windows):
            sums = free_running_sums(subject.model, subject.objective, tokens_BT, subject.layout)
            for name, counts in sums.items():
                # Other ranks, if there are any, do not measure.
                accuracy = accuracies.setdefault(name, TokenAccuracy(sync_on_compute=False))
                accuracy.update(counts.correct_R.cpu(), counts.count_R.cpu())
        return Result(
            metrics={
                name: {"free_running_token_accuracy": accuracy.compute().item()}
                for name, accuracy in accuracies.items()
            }
        )


def free_running_sums(
    model: LanguageModel, objective: Objective, tokens_BT: Tensor, layout: Layout
) -> dict[str, Counts]:
    """Return the counts of the objective's retained tables by name; none for an objective that shows no target."""
    tables = objective.tables(tokens_BT, layout) if objective.retained else []
    return {table.name: free_running(model, table) for table in tables if table.name in objective.retained}
