"""The report of a sweep from its run folders: python -m memlab.report +experiment=NAME [the sweep's overrides].

Exit status: 0 if every claim holds, 3 if one does not or was not measured, 2 for a mistake.
"""

import sys

from memlab.compose import compose_sweep
from memlab.progress import console
from memlab.run import fail
from memlab.sweep import make_sweep_report


def main() -> None:
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return
    try:
        report = make_sweep_report(compose_sweep([a for a in sys.argv[1:] if not a.startswith("-")]))
    except Exception as error:
        fail(error, 2)
    failed = [claim["id"] for claim in report.claims if claim["holds"] is False]
    open_ = [claim["id"] for claim in report.claims if claim["holds"] is None]
    for verdict, names in (("do not hold", failed), ("were not measured", open_)):
        if names:
            console.print(f"claims that {verdict}: {', '.join(names)}", markup=False)
    if failed or open_:
        raise SystemExit(3)


if __name__ == "__main__":
    main()
