"""Tasks of the lm-evaluation-harness as a measure of finished stages (conf/measure/benchmarks.yaml)."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from threading import RLock
from typing import Any

from tqdm import tqdm

from memlab.data.module import Windows
from memlab.errors import UserError
from memlab.harness.tasks import LOCAL, held_out_tasks
from memlab.measures import Measure, Result, Subject


class Benchmarks(Measure):
    """Every metric of every task, such as held_out_choice/acc, in the table of the objective's first table.

    tasks: names of the harness's own tasks, which it downloads, or of LOCAL, which are made from held-out text.
    windows: documents per task. folder: of more tasks, as the harness's --include_path.
    Models that do not predict next tokens, or are told the text that they predict, give nothing. Raises UserError
    without the harness, and for tasks that it cannot load.
    """

    name = "benchmarks"

    def __init__(self, *, windows: int, tasks: Sequence[str], folder: str | None = None) -> None:
        super().__init__(windows=windows)
        if find_spec("lm_eval") is None:
            raise UserError("the lm-evaluation-harness is not installed: pip install 'memlab[harness]'")
        self.tasks = tuple(tasks)
        self.folder = folder

    def __call__(self, subject: Subject) -> Result:
        if "predict" not in subject.model.can or not subject.model.generates:
            return Result()
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        from memlab.harness.model import MemlabLM

        local = [task for task in self.tasks if task in LOCAL]
        others = [task for task in self.tasks if task not in LOCAL]
        asked: list[Any] = [*others]
        if local:
            asked += held_out_tasks(local, subject.text, self._windows(subject))
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        tqdm.set_lock(RLock())  # its own lock is shared by processes, and a worker's end would leave it behind
        try:
            with redirect_stderr(StringIO()):  # its bars would stand between memlab's own
                found = simple_evaluate(
                    MemlabLM.of(subject.model, subject.text),
                    tasks=asked,
                    limit=self.windows,
                    bootstrap_iters=0,
                    log_samples=False,
                    task_manager=TaskManager(include_path=self.folder, include_defaults=bool(others)),
                )
        except (KeyError, ValueError, OSError) as error:
            raise UserError(f"measure benchmarks: the harness cannot run {', '.join(self.tasks)} ({error})") from error
        metrics = {
            f"{task}/{name.removesuffix(',none')}": value
            for task, values in found["results"].items()
            for name, value in values.items()
            if isinstance(value, int | float) and "_stderr" not in name and name != "sample_len"
        }
        return Result(metrics={subject.table_names()[0]: metrics})

    def _windows(self, subject: Subject) -> list[list[int]]:
        held_out = Windows.of(subject.text, "val", subject.layout.chunks * subject.layout.length)
        held_out.require(1, "held-out")
        chosen = range(0, len(held_out), max(1, len(held_out) // self.windows))[: self.windows]
        return [ids for ids in held_out.take(list(chosen)).tolist()]
