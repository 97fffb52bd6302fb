"""Reports: what finished run folders say about an experiment's claims.

Reports are made from files alone. Neither torch nor Hydra nor any model is imported, so a report can be redrawn on a
machine that cannot train.

    report = make_report("copy_curriculum", "laptop", points, folder, command)
    print_report(report)
    publish(report, "laptop")                              # into experiments/copy_curriculum/results, to be committed
    report = redraw("copy_curriculum", "laptop", folder)   # from there, without run folders
"""

from memlab.report.collect import Point, Row, collect
from memlab.report.report import Report
from memlab.report.terminal import print_report
from memlab.report.write import committed, committed_rows, make_report, publish, redraw

__all__ = [
    "Point",
    "Report",
    "Row",
    "collect",
    "committed",
    "committed_rows",
    "make_report",
    "print_report",
    "publish",
    "redraw",
]
