"""Objectives: what a model reads of a window of tokens, and what is scored. One file each."""

from memlab.objectives.autoencode import Autoencode
from memlab.objectives.base import IGNORE, Objective, Sums, Table
from memlab.objectives.blank_copy import BlankCopy
from memlab.objectives.clm import CausalLanguageModelling
from memlab.objectives.combined import Combined
from memlab.objectives.copy import Copy

__all__ = [
    "IGNORE",
    "Autoencode",
    "BlankCopy",
    "CausalLanguageModelling",
    "Combined",
    "Copy",
    "Objective",
    "Sums",
    "Table",
]
