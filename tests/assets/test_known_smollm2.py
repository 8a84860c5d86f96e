"""What the project says of SmolLM2 is true of the model that comes as a package."""

import pytest

from app.inputs.examples import outcome
from app.inputs.known_model import TITLES, KnownModel
from app.paths import MODELS
from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine, compare
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.layer_search.result import SearchResult
from dola_core.models.loading import load_model
from dola_core.models.sources import smollm2
from dola_core.trace.recorder import Recorder


@pytest.fixture(scope="module")
def smol(smollm2_cache):
    return load_model(smollm2.NAME, device="cpu", dtype="float32")


def test_its_search_is_its_own_and_its_settings_are_the_ones_that_the_search_chose(smol):
    search, preset = KnownModel.of(smol.info).search, smol.preset
    assert search.complete
    assert search.model.identity == preset.identity == smol.info.identity
    assert (preset.layer, preset.alpha) == (search.chosen.layer, search.chosen.alpha)
    assert preset.early_norm == search.asked.rule.early_norm
    tested = SearchResult.model_validate_json((MODELS / smollm2.NAME / "measured" / "test.json").read_bytes())
    assert tested.asked.layers == (preset.layer,)
    assert tested.asked.alphas == (preset.alpha,)
    assert tested.data.sha256 != search.data.sha256
    assert preset.tested == tested.tested is not None


def test_every_example_is_labelled_as_what_it_is(smol):
    lanes = [
        Baseline(name="baseline"),
        DolaStatic(name="dola", layer=smol.preset.layer, alpha=smol.preset.alpha),
    ]
    found = {}
    for example in KnownModel.of(smol.info).examples:
        trace = compare(smol, example.prompt, lanes, DecodingConfig(max_new_tokens=12), chat=bool(example.chat))
        if example.outcome is None:
            assert all(example.answer in text for text in trace.texts), trace.texts
        else:
            found[example.prompt] = (example.outcome, outcome(*trace.texts, example.answer))
    assert all(said == is_ for said, is_ in found.values()), found
    assert {said for said, _ in found.values()} >= {"mended", "harmed", "right in both"}


@pytest.mark.parametrize("title", TITLES)
def test_a_recorded_trace_is_what_the_model_writes(smol, title):
    (recorded,) = [one for one in KnownModel.of(smol.info).recorded if one.title == title]
    trace = recorded.read()
    assert trace.model == smol.info
    comparison = Comparison(trace.prompt, trace.prompt_ids, trace.lanes, trace.decoding)
    recorder = Recorder(comparison, smol.info)
    for output in Engine(smol).compare(comparison):
        recorder.add(output.tokens, output.ends, output.steps)
    assert recorder.trace(smol.piece, smol.text).digest == trace.digest
