"""Reports: what finished run folders say about an experiment's claims.

Reads files only, imports neither torch nor any model, so a report can be redrawn on a machine that cannot train.

    report = make_report("copy_curriculum", "laptop", points, folder, command)
    print_report(report)
"""

from memlab.report.collect import Point, Row, collect
from memlab.report.write import Report, make_report, print_report

__all__ = ["Point", "Report", "Row", "collect", "make_report", "print_report"]
