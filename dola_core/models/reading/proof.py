"""Prove that what lock step does with a model gives the logits of the model's own uncached passes.

Lock step reads prompts in pieces, goes on from a cache, copies and reorders its rows, and works on several texts in
turn. Each of that is tried once for each model, on a few tokens; what fails is done another way, or refused.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola_core.errors import UnsupportedModelError
from dola_core.models.devices import out_of_memory
from dola_core.models.quantising import is_packed, plain_products
from dola_core.models.reading.cached_texts import CachedTexts, ReadingRules, read_logits
from dola_core.models.reading.joined_texts import joined
from dola_core.models.reading.parts import check_finite, first_line, model_name, probe_ids
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.turning_points import TurningPoints

PROMPT = 24
"""Tokens of a trial's prompt, unless the model changes a rule before."""
AFTER = 8
"""Tokens of a trial after its prompt."""
LONGEST_TRIAL = {"cuda": 8_192}
"""The most tokens of a trial by the kind of device."""
LONGEST_SLOW_TRIAL = 192
"""The most tokens of a trial on other devices, where reading thousands would take minutes."""

FLOORS = {torch.float32: 1e-3, torch.float64: 1e-3}
"""Differences of logits that count as none, as a share of their spread, by the dtype that a model computes in."""
FLOOR = 3e-2
"""The same for dtypes with fewer digits, and for weights in few bits."""
ROUNDING = 4.0
"""How far logits may lie from the model's, in units of what rounding its embeddings otherwise does to them."""

_RULES: weakref.WeakKeyDictionary[PreTrainedModel, ReadingRules] = weakref.WeakKeyDictionary()


def reading_rules(readout: Readout) -> ReadingRules:
    """How the model of `readout` may read texts in lock step. Proved once for each model object.

    Raises `UnsupportedModelError` with one sentence if there is no way that gives the model's own logits.
    """
    model = readout.model
    if model not in _RULES:
        _RULES[model] = find_rules(readout)
    return _RULES[model]


def know_rules(readout: Readout, rules: ReadingRules) -> None:
    """Take rules that were proved before for the model of `readout`."""
    _RULES[readout.model] = rules


def context_length(readout: Readout) -> int | None:
    """The most tokens of a text, or None for no limit: by the model's config, and by its `reading_rules`."""
    limits = [length for length in (readout.context_length, reading_rules(readout).longest) if length is not None]
    return min(limits, default=None)


@torch.no_grad()
def find_rules(readout: Readout) -> ReadingRules:
    """Prove it; see `reading_rules`, which remembers what was found.

    Layers of eight bits take part without the rounding of their inputs.
    """
    with plain_products(readout.model):
        return _find_rules(readout)


def _find_rules(readout: Readout) -> ReadingRules:
    turning = TurningPoints.of(readout.model.config)
    longest = LONGEST_TRIAL.get(readout.device.type, LONGEST_SLOW_TRIAL)
    room = min(longest, readout.context_length or longest) - AFTER
    if room < 2:
        raise UnsupportedModelError(f"{model_name(readout.model)} reads too few tokens to complete a prompt.")
    first_rope, first = min(turning.rope, default=longest), min(turning.points, default=longest)

    def trial(prompt: int) -> Trial:
        return Trial(readout, prompt, exact=prompt + AFTER > min(first_rope, LONGEST_SLOW_TRIAL))

    usual = trial(max(2, min(PROMPT, room, first - AFTER)))
    rules = _rules_at(usual)
    # Where positions turn with the longest text, texts of different lengths in one batch would disturb each other.
    if not turning.rope and usual.can_pad(rules):
        rules = replace(rules, padded=True)
    for point in turning.points:
        if point in turning.remembered or (point in turning.rope and point > room):
            return replace(rules, longest=point)
        if point > room:
            continue
        try:
            rules = _rules_at(trial(max(2, point - 2)), rules)
        except UnsupportedModelError:
            return replace(rules, longest=point)
    return rules


def _rules_at(trial: "Trial", rules: ReadingRules | None = None) -> ReadingRules:
    """The rules by which all of `trial` agrees with the model: the given ones, or else ones that allow less."""
    error = ""
    for start in [rules] if rules else [ReadingRules(), ReadingRules(own_cache=True)]:
        if not trial.error(trial.all_at_once, start):
            return start
        if error := trial.error(trial.steps, start):
            continue
        found = start
        for name, attempt in (("in_chunks", trial.chunks), ("rows_together", trial.rows), ("shortened", trial.shorten)):
            if getattr(found, name) and trial.error(attempt, found):
                found = replace(found, **{name: False})
        error = trial.error(trial.rows, found) or trial.error(trial.all_at_once, found)
        if not error:
            return found
    raise UnsupportedModelError(f"{model_name(trial.readout.model)} cannot decode in lock step: {error}")


class _DifferenceError(Exception):
    """Logits are not those of the model's own uncached pass."""


class Trial:
    """What lock step does, on texts of `prompt` and more tokens, each step compared with the model's uncached pass."""

    def __init__(self, readout: Readout, prompt: int, *, exact: bool = False) -> None:
        """Prepare the texts.

        With `exact`, every step is compared with a pass over exactly its text. If not, one pass over longer texts
        serves, as what a causal model reads at a position does not depend on what follows.
        """
        self.readout, self.prompt, self.exact = readout, prompt, exact
        ids = probe_ids(readout.model, rows=4, length=prompt + AFTER)
        ids[1, :prompt], ids[2, : prompt + 2] = ids[0, :prompt], ids[0, : prompt + 2]
        self.ids = ids
        """`[4, prompt + AFTER]`: three texts with a common prompt, of which the second parts from the first at its end
        and the third two tokens later; and one of its own."""
        self._whole = None if exact else self._uncached(ids)
        # Layers of four bits multiply in 16 bits on some processors, whatever the dtype.
        floor = FLOOR if is_packed(readout.model) else FLOORS.get(readout.model.dtype, FLOOR)
        # How far logits may lie from the model's, as a share of their spread.
        self.tolerance = max(floor, ROUNDING * self._rounding())

    def error(self, attempt: Callable[[ReadingRules], None], rules: ReadingRules) -> str:
        """What is wrong with an attempt, as the end of a sentence; empty if all of it agrees."""
        try:
            attempt(rules)
        except _DifferenceError as difference:
            return f"{difference} differs from the logits of its own uncached passes."
        except UnsupportedModelError as error:
            if rules.own_cache:  # there is no other way left
                raise
            return str(error)
        except Exception as error:  # a model's own code: anything can come out of it
            if out_of_memory(error):
                raise
            return f"{first_line(error)}."
        return ""

    def all_at_once(self, rules: ReadingRules) -> None:
        """Everything below on two texts in turn, with few passes."""
        other = self._start(3, rules, self.prompt + 2)
        texts = self._read_prompt(rules, in_chunks=rules.in_chunks)
        self._check(other, "a prompt in one piece")
        self._check(texts, "a prompt in chunks" if rules.in_chunks else "a prompt in one piece")
        self._fork(texts, between=lambda: self._next(other, [3], "two texts in turn"))
        self._next(other, [3], "two texts in turn")
        if texts.can_be_shortened:
            self._go_back(texts)

    def steps(self, rules: ReadingRules) -> None:
        """A prompt in one piece and single steps, of two texts in turn."""
        texts, other = self._start(0, rules, self.prompt), self._start(3, rules, self.prompt + 2)
        self._check(texts, "a prompt in one piece")
        self._check(other, "a prompt in one piece")
        for _ in range(4):
            self._next(texts, [0], "going on from its cache")
            self._next(other, [3], "going on from its cache with two texts in turn")

    def chunks(self, rules: ReadingRules) -> None:
        """A prompt in several passes, and what follows."""
        texts = self._read_prompt(rules, in_chunks=True)
        self._check(texts, "a prompt in chunks")
        self._next(texts, [0], "going on from a prompt in chunks")

    def rows(self, rules: ReadingRules) -> None:
        """Rows that are copied, reordered and dropped."""
        texts = self._read_prompt(rules, in_chunks=False)
        self._check(texts, "a prompt in one piece")
        self._fork(texts)

    def shorten(self, rules: ReadingRules) -> None:
        """Going on from an earlier token."""
        texts = self._start(0, rules, self.prompt + 3)
        self._check(texts, "a prompt in one piece")
        if texts.can_be_shortened:
            self._go_back(texts)

    def can_pad(self, rules: ReadingRules) -> bool:
        """Whether texts of different lengths can be read in one cache."""
        return rules.rows_together and not rules.own_cache and not self.error(self.padded, rules)

    def padded(self, rules: ReadingRules) -> None:
        """Texts that join a cache with others of another length, are copied there, and are left alone again."""
        texts, other = self._start(0, rules, self.prompt), self._start(3, rules, self.prompt + 2)
        texts.read()
        other.read()
        if not (texts.can_be_shortened and other.can_be_shortened):
            raise _DifferenceError("a padded text")  # its layers keep something else than keys and values
        together = joined([(texts, [0]), (other, [0])])
        self._next_padded(together, [0, 3])
        together = joined([(together, [0, 0, 1])])
        self._next_padded(together, [0, 2, 3])
        together = joined([(together, [1])])
        self._next_padded(together, [2])

    def _next_padded(self, texts: CachedTexts, rows: Sequence[int]) -> None:
        """The same as `_next`, of texts that may begin with padding."""
        lengths = [texts.ids.shape[1] - padding for padding in texts.padding]
        texts.append(torch.stack([self.ids[row, length] for row, length in zip(rows, lengths, strict=True)])[:, None])
        count = len(rows)
        logits = read_logits(texts, [(self.readout.n_layers, row) for row in range(count)], early_norm=True)
        for row, padding in enumerate(texts.padding):
            if not self.agrees(logits[[row, count + row]], texts.ids[[row, row], padding:]):
                raise _DifferenceError("a padded text")

    def _start(self, row: int, rules: ReadingRules, length: int) -> CachedTexts:
        return CachedTexts(self.readout, self.ids[row : row + 1, :length], rules)

    def _read_prompt(self, rules: ReadingRules, *, in_chunks: bool) -> CachedTexts:
        texts = self._start(0, rules, self.prompt)
        chunk = max(1, self.prompt // 3)
        for until in range(chunk, self.prompt - 1, chunk) if in_chunks else ():
            texts.read(until)
        return texts

    def _fork(self, texts: CachedTexts, between: Callable[[], None] = lambda: None) -> None:
        """Copy, reorder and drop rows of a text that has read the first prompt."""
        texts.select([0, 0])
        self._next(texts, [0, 1], "a copied row")
        between()
        texts.select([1, 0])
        self._next(texts, [1, 0], "a reordered row")
        texts.select([0, 1, 1])
        self._next(texts, [1, 0, 2], "a copied row")
        texts.select([2, 0])
        self._next(texts, [2, 1], "a row after others were dropped")

    def _go_back(self, texts: CachedTexts) -> None:
        """Keep one text, take off what it has read after the prompt, and go on another way."""
        texts.select([0])
        texts.shorten(self.prompt)
        self._next(texts, [1], "going back to an earlier token")
        self._next(texts, [1], "going on from an earlier token")

    def _next(self, texts: CachedTexts, rows: Sequence[int], what: str) -> None:
        """Extend the texts by the next tokens of `rows` of the trial's texts, and compare."""
        texts.append(self.ids[list(rows), texts.ids.shape[1]][:, None])
        self._check(texts, what)

    def _check(self, texts: CachedTexts, what: str) -> None:
        """Compare the last layer's read-outs, by the model and through `LN_out`, with those of an uncached pass."""
        count, last = len(texts.ids), self.readout.n_layers
        logits = read_logits(texts, [(last, row) for row in range(count)], early_norm=True)
        if not (self.agrees(logits[:count], texts.ids) and self.agrees(logits[count:], texts.ids)):
            raise _DifferenceError(what)

    def agrees(self, read: Tensor, ids: Tensor) -> bool:
        """Whether logits `[rows, V]` are the model's after the texts `ids`, which are beginnings of the trial's.

        Equal up to what the order of additions can change; a wrong position or row changes far more.
        """
        expected = self._expected(ids)
        return bool((differences(read.to(expected.device), expected) <= self.tolerance).all())

    def _rounding(self) -> float:
        """What errors of rounding do to the logits: the model's own, once its embeddings are rounded otherwise.

        Deep models of few digits enlarge an error in the last digit until texts differ, without any fault.
        """
        generator, owner = torch.Generator().manual_seed(0), threading.get_ident()

        def disturb(_module: nn.Module, _args: tuple, output: Tensor) -> Tensor:
            if threading.get_ident() != owner:
                return output
            noise = torch.randn(output.shape, generator=generator).to(output)
            return output * (1 + torch.finfo(output.dtype).eps * noise)

        exact, largest = self._uncached(self.ids), 0.0
        hook = self.readout.model.get_input_embeddings().register_forward_hook(disturb)
        try:
            for _ in range(2):
                apart = differences(self._uncached(self.ids), exact)[:, 1 - AFTER :]
                largest = max(largest, float(apart.max()))
        finally:
            hook.remove()
        return largest

    def _expected(self, ids: Tensor) -> Tensor:
        """The model's logits `[rows, V]` after each of the texts `ids`, without a cache."""
        if self._whole is None:
            return self._uncached(ids)[:, -1]
        length = ids.shape[1]
        rows = [next(n for n, whole in enumerate(self.ids) if torch.equal(whole[:length], row)) for row in ids]
        return self._whole[rows, length - 1]

    @torch.no_grad()
    def _uncached(self, ids: Tensor) -> Tensor:
        """The model's logits without a cache, `[rows, T, V]`; with `exact` of the last position only."""
        model, readout = cast(Any, self.readout.model), self.readout
        with readout.beside_head(lambda x: x[:0] if self.exact else None):
            logits = model(input_ids=ids, use_cache=False).logits[:, -ids.shape[1] :].float()
        check_finite(model, [logits.nan_to_num(neginf=0.0, nan=float("nan"))])
        return logits


def differences(read: Tensor, expected: Tensor) -> Tensor:
    """How far logits lie apart, as a share of the spread of `expected`: `[..., V]`, `[..., V]` → `[...]`."""
    spread = (expected - expected.mean(-1, keepdim=True)).square().mean(-1).sqrt()
    return (read - expected).square().mean(-1).sqrt() / spread.clamp_min(1e-30)
