"""Run a comparison for each of many prompts."""

from collections.abc import Callable, Iterator, Sequence

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.errors import PromptError
from dola_core.many_prompts.rows import PromptRow
from dola_core.trace.schema import Trace

MakeComparison = Callable[[str], Comparison]


def run_prompts(
    engine: Engine, prompts: Sequence[tuple[int, str]], comparison_of: MakeComparison, settings: str
) -> Iterator[tuple[PromptRow, Trace | None]]:
    """Run the numbered prompts one after the other; yields each row, and its trace if the prompt could be run.

    The lanes of a prompt are decoded together. Each prompt is read whole, so that its row does not depend on those
    before it: a KV cache that is taken over may decide between two equal tokens.

    Args:
        engine: the model.
        prompts: (number from 1, text) of each.
        comparison_of: the comparison of a prompt; a `PromptError` that it raises becomes the row's `error`.
        settings: as `settings_digest` returns it.
    """
    for number, prompt in prompts:
        try:
            trace = engine.run(comparison_of(prompt))
        except PromptError as error:
            yield PromptRow(number=number, settings=settings, prompt=prompt, error=str(error)), None
            continue
        yield PromptRow.of(number, settings, trace).model_copy(update={"prompt": prompt}), trace
