"""What a memory model's pretrained decoder is still worth by itself, as the language model that it was."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from memlab.measures import Measure, Result, Subject
from memlab.models import CausalLM
from memlab.objectives import CausalLanguageModelling
from memlab.pretrained import PretrainedDecoder


class Alone(Measure):
    """Other measures of the decoder alone: it reads the tokens of whole windows, without memories or slots.

    measures: by name; their metrics get the prefix alone/. They are measured on next tokens, and the first token of
    each chunk is not scored, so that every number is over the tokens that a memory model is scored on.
    Models without a pretrained decoder give nothing.
    """

    name = "alone"

    def __init__(self, *, windows: int, measures: Mapping[str, Measure]) -> None:
        super().__init__(windows=windows)
        self.measures = measures

    def __call__(self, subject: Subject) -> Result:
        model, decoder = subject.model, subject.model.decoder
        if not isinstance(decoder, PretrainedDecoder):
            return Result()
        layout = subject.layout
        alone = CausalLM(
            decoder=lambda **_: decoder, vocab=model.vocab, chunks=layout.chunks, length=layout.length
        ).eval()
        objective = CausalLanguageModelling(blank=subject.objective.blank, delimiter=subject.objective.delimiter)
        own = replace(subject, model=alone, objective=objective)
        metrics: dict[str, Any] = {}
        windows: dict[str, Any] = {}
        for measure in self.measures.values():
            found = measure(own)
            for values in found.metrics.values():
                metrics |= {f"{self.name}/{name}": value for name, value in values.items()}
            for of in found.windows.values():
                windows[self.name] = of
        return Result(metrics={subject.table_names()[0]: metrics}, windows=windows)
