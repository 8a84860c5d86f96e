"""A trace of one step whose probabilities are set by hand."""

import math

import numpy as np

from app.language import language
from app.render.inspection import Inspection
from app.render.view_state import View
from dola_core.lanes import DecodingConfig, Lane, parse_lane
from dola_core.models.info import ModelInfo
from dola_core.trace.schema import Trace
from dola_core.trace.step import Choice, Step

LAYERS = 3


def trace_of(
    rows: dict[str, tuple[float, ...]],
    lanes: str,
    *,
    chosen: tuple[int, ...] = (),
    taken: tuple[int, ...] = (),
    seen: tuple[int, ...] = (),
    ends: tuple[str, ...] = (),
    exact_alpha: float = 0.01,
    **decoding: object,
) -> Trace:
    """The step of {token: its probability in each of `LAYERS` layers}, for lanes as text.

    Tokens are numbered in their order. `chosen` and `taken` are the lanes'; without `chosen` a plain lane takes the
    first token, and others what they would.
    """
    config = DecodingConfig(**({"max_new_tokens": 4} | decoding))
    fitted = tuple(parse_lane(lane).fitted(LAYERS, tied=True) for lane in lanes.split())
    count, none = len(fitted), np.empty(0)
    log_q = np.log(np.array(list(rows.values()), dtype=np.float32))
    step = Step(
        index=0,
        lanes=tuple(range(count)),
        taken=taken or chosen or (0,) * count,
        choices=tuple(Choice(id=n, p=math.exp(log_q[n, -1]), rank=1, entropy=1) for n in chosen or (0,) * count),
        exact_alpha=exact_alpha,
        tokens=np.arange(len(rows)).astype("<u4"),
        log_q=log_q.reshape(-1),
        rough_log_q=none.astype("<f2"),
        seen=np.array(seen, dtype="<u4"),
        noise=np.zeros(len(rows) if config.samples else 0, dtype="<f4"),
        top_ids=np.zeros(LAYERS, dtype="<u4"),
        top_p=np.ones(LAYERS, dtype="<f2"),
        jsd=np.zeros(LAYERS, dtype="<f2"),
        layer_entropy=np.zeros(LAYERS, dtype="<f2"),
        ranks=np.ones(LAYERS * count, dtype="<u2"),
        closeness=np.array([0, 0.5, 0.2], dtype="<f4"),
    )
    if not chosen:
        step = step.model_copy(update={"choices": tuple(_choice(step, lane, config) for lane in fitted)})
        step = step.model_copy(update={"taken": taken or tuple(choice.id for choice in step.choices)})
    return Trace(
        model=ModelInfo(name="toy", dtype="float32", n_layers=LAYERS, vocab_size=len(rows), tied=True),
        prompt="", prompt_ids=(), lanes=fitted, decoding=config, steps=(step,), texts=("",) * count,
        ends=(*ends, *("length",) * (count - len(ends))), pieces=dict(enumerate(rows)), digest="",
    )  # fmt: skip


def _choice(step: Step, lane: Lane, config: DecodingConfig) -> Choice:
    chosen = step.what_if(lane, config) if lane.reads else 0
    layer = step.contrasted(lane) if lane.chooses_layer else None
    return Choice(id=chosen, p=math.exp(step.exact_log_q[chosen, -1]), rank=1, entropy=1, layer=layer)


def look(trace: Trace, *now: str, code: str = "en") -> Inspection:
    """Its second lane's text looked at, with lanes as they ran or as they are set `now`."""
    lanes = tuple(map(parse_lane, now)) or trace.lanes
    inspection = Inspection.of(trace, View(lane=1, index=0, lanes=lanes, words=language(code)))
    assert inspection is not None
    return inspection
