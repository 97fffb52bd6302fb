"""Objectives: what a model reads of a window of tokens, and what is scored. One file each."""

from memlab.objectives.autoencode import Autoencode
from memlab.objectives.base import Objective
from memlab.objectives.blank_copy import BlankCopy
from memlab.objectives.clm import CausalLanguageModelling
from memlab.objectives.combined import Combined
from memlab.objectives.copy import Copy
from memlab.objectives.free_running import Counts, free_running
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.retrieval import Retrieval
from memlab.objectives.scoring import Sums
from memlab.objectives.table import BLANKS, IGNORE, Table

__all__ = [
    "BLANKS",
    "IGNORE",
    "Autoencode",
    "BlankCopy",
    "CausalLanguageModelling",
    "Combined",
    "Copy",
    "Counts",
    "Draw",
    "Layout",
    "Objective",
    "Retrieval",
    "Sums",
    "Table",
    "free_running",
]
