"""Objectives: what a model reads of a window of tokens, and what is scored. One file each."""

from memlab.objectives.autoencode import Autoencode as Autoencode
from memlab.objectives.base import Objective as Objective
from memlab.objectives.blank_copy import BlankCopy as BlankCopy
from memlab.objectives.clm import CausalLanguageModelling as CausalLanguageModelling
from memlab.objectives.combined import Combined as Combined
from memlab.objectives.copy import Copy as Copy
from memlab.objectives.free_running import Counts as Counts, free_running as free_running
from memlab.objectives.layout import Draw as Draw, Layout as Layout
from memlab.objectives.retrieval import Retrieval as Retrieval
from memlab.objectives.scoring import Sums as Sums
from memlab.objectives.table import BLANKS as BLANKS, IGNORE as IGNORE, Table as Table
