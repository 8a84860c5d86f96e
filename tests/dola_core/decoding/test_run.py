"""`Comparison.run` is `Engine.compare` drained into a trace, lanes fitted."""

from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic
from tests.dola_core.tiny import asked, engine_of, prompt, recorded

LANES = (Baseline(), DolaDynamic(bucket="high"))


def test_a_comparison_that_is_run_gives_the_trace_of_its_steps(readout):
    config = DecodingConfig(max_new_tokens=5)
    engine = engine_of(readout)
    engine.loaded.piece = lambda token: f" t{token}"
    comparison = asked(prompt(7), LANES, config)
    trace = comparison.run(engine)
    assert trace.to_json() == recorded(readout, prompt(7), LANES, config).to_json()
    assert trace.to_json() == engine.run(comparison).to_json()
    assert trace.lanes[1].layers
    assert all(trace.ends)
