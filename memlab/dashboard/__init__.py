"""The page: one HTML file over a runs folder or the committed results, which can also follow a running sweep.

    reports.py   the experiments: rows, claims and tables of memlab.report, as plain values
    stages.py    the run folders: state, curves, reconstructions, provenance
    workspace.py what the saved views and reports of Weights & Biases contain, which wandb_views.py makes
    contents.py  all together, no larger than a page may be
    page.py      these values inside the files of page/ and vendor/: one HTML file
    serve.py     the same page over HTTP, and its values again whenever they have changed

The browser does the rest in page/*.js. Neither torch nor Hydra is imported.
"""
