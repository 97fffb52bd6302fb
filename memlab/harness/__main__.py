"""The lm-evaluation-harness's own command, which knows memlab's models as `--model memlab`.

  python -m memlab.harness run --model memlab --model_args pretrained=RUN --tasks arc_easy,hellaswag
  python -m memlab.harness ls tasks

RUN is a run folder, a folder that --export wrote, or owner/name on the Hub. The harness finds models in its own list
alone, so a command of memlab's adds memlab to that list; all options are the harness's own.
"""

import sys

from memlab.errors import UserError, fail


def main() -> None:
    try:
        from lm_eval.__main__ import cli_evaluate
        from lm_eval.api.registry import model_registry
    except ImportError as error:
        fail(UserError(f"the lm-evaluation-harness is not here ({error}): pip install 'memlab[harness]'"), 2)
    model_registry.register("memlab", target="memlab.harness.model:MemlabLM")
    sys.argv[0] = "python -m memlab.harness"
    try:
        cli_evaluate()
    except UserError as error:
        fail(error, 2)


if __name__ == "__main__":
    main()
