"""`python -m dola_core.evaluation`: the command `lm_eval`, which knows the model `dola` here.

lm_eval up to 0.4.13 finds no models in other packages; this imports ours first.
"""

import importlib.util
import sys

from dola_core.errors import PresetError, UnsupportedModelError


def main() -> int:
    """Run `lm_eval` with the arguments of this command. Returns its exit status."""
    if importlib.util.find_spec("lm_eval") is None:
        print('lm_eval is not installed; run: pip install "lm_eval[hf]"', file=sys.stderr)
        return 1
    from lm_eval.__main__ import cli_evaluate

    from dola_core.evaluation.lm_eval import DolaLM
    from dola_core.evaluation.model_args import ModelArgsError

    try:
        cli_evaluate()
    except (ModelArgsError, PresetError, UnsupportedModelError) as error:
        print(f"{DolaLM.NAME}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
