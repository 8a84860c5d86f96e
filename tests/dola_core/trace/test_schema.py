"""What is recorded, its JSON, and the what-if."""

import base64
import itertools
import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dola_core.decoding.lockstep import compare
from dola_core.lanes import Decoding, Lane
from dola_core.trace.ranks import EXACT
from dola_core.trace.recorder import SHOWN, Allowance, Recorder, Row, record_steps
from dola_core.trace.schema import ALPHA_MIN, ModelInfo, Step, Trace
from tests.dola_core.reference import entropy, jensen_shannon, log_softmax, penalise
from tests.dola_core.tiny import N, V, prompt, recorded, texts

PROMPT = prompt(7)
LANES = (Lane(name="baseline"), Lane(name="dola", layer=22))
ALPHAS = (ALPHA_MIN, 0.02, 0.05, 0.1, 0.3, 0.7, 1.0)


@pytest.fixture(scope="module")
def trace(readout) -> Trace:
    decoding = Decoding(max_new_tokens=4, temperature=0.9, repetition_penalty=1.2, seed=2)
    return recorded(readout, PROMPT, LANES, decoding)


@pytest.fixture(scope="module")
def document(trace):
    """A fresh copy of the trace as plain JSON values."""
    return lambda: json.loads(trace.to_json())


def array(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


class TestJson:
    def test_reading_what_was_written_gives_the_same_trace(self, trace):
        again = Trace.model_validate_json(trace.to_json())
        assert again.to_json() == trace.to_json()
        for one, other in zip(trace.steps, again.steps, strict=True):
            for name in Step.model_fields:
                left, right = getattr(one, name), getattr(other, name)
                assert type(left) is type(right)
                assert np.array_equal(left, right), name
                assert getattr(left, "dtype", None) == getattr(right, "dtype", None)

    def test_numbers_that_choices_compare_survive_to_the_last_bit(self, trace):
        again = Trace.model_validate_json(trace.to_json())
        for one, other in zip(trace.steps, again.steps, strict=True):
            assert one.log_q.tobytes() == other.log_q.tobytes()
            assert one.noise.tobytes() == other.noise.tobytes()
            assert len(one.noise) == len(one.exact_log_q)

    def test_the_document_names_its_schema(self, document):
        assert document()["schema"] == 1

    def test_a_greedy_trace_goes_both_ways_too(self, readout):
        trace = recorded(readout, PROMPT, LANES, Decoding(max_new_tokens=2))
        assert Trace.model_validate_json(trace.to_json()).to_json() == trace.to_json()
        assert len(trace.steps[0].noise) == 0

    def test_arrays_cannot_be_changed(self, trace):
        with pytest.raises(ValueError, match="read-only"):
            trace.steps[0].log_q[0] = 0.0


def put(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


STEP = ("steps", 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("extra",), 1),
            ((*STEP, "extra"), 1),
            ((*STEP, "choices", 0, "extra"), 1),
            (("lanes", 0, "extra"), 1),
            (("model", "extra"), 1),
            (("decoding", "extra"), 1),
            (("schema",), 2),
            (("schema",), 0),
            (("schema",), None),
            (("ends", 0), "bored"),
            (("lanes", 1, "layer"), 30),
            (("decoding", "temperature"), -1.0),
            ((*STEP, "choices", 0, "p"), 1.5),
            ((*STEP, "choices", 0, "p"), math.nan),
            ((*STEP, "choices", 0, "entropy"), math.nan),
            ((*STEP, "choices", 0, "entropy"), math.inf),
            ((*STEP, "choices", 0, "rank"), 0),
            ((*STEP, "choices", 0, "id"), V),
            ((*STEP, "exact_alpha"), 0.001),
            ((*STEP, "exact_alpha"), math.nan),
            ((*STEP, "exact_alpha"), math.inf),
            ((*STEP, "lanes"), [0, 5]),
            ((*STEP, "taken"), [1]),
            ((*STEP, "taken"), [V, V]),
            ((*STEP, "choices"), []),
            ((*STEP, "tokens"), ""),
            ((*STEP, "tokens"), "not base64!"),
            (("texts",), ["one"]),
            (("ends",), []),
            (("prompt_ids", 0), V),
            (("prompt_ids", 0), -1),
            (("model", "n_layers"), 29),
            (("model", "vocab_size"), 50),
        ],
        ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value),
    )
    def test_a_document_with_a_wrong_value_is_refused(self, document, path, value):
        changed = document()
        put(changed, path, value)
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize(
        "field", ["tokens", "log_q", "noise", "top_ids", "top_p", "jsd", "layer_entropy", "ranks", "shown_ranks"]
    )
    def test_arrays_cut_off_too_short_or_too_long_are_refused(self, document, field):
        whole = base64.b64decode(document()["steps"][0][field])
        for raw in (whole[:-1], whole[: len(whole) // 2], whole[:-4], whole + whole[:4]):
            changed = document()
            changed["steps"][0][field] = base64.b64encode(raw).decode()
            with pytest.raises(ValidationError):
                Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("field", ["log_q", "noise", "top_p", "jsd", "layer_entropy"])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_numbers_that_are_not_finite_are_refused(self, document, field, bad):
        changed = document()
        values = array(changed["steps"][0][field], "<f4" if field in ("log_q", "noise") else "<f2").copy()
        values[3] = bad
        changed["steps"][0][field] = encoded(values)
        with pytest.raises(ValidationError, match="not finite"):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("field", ["tokens", "top_ids"])
    def test_ids_outside_the_vocabulary_are_refused(self, document, field):
        changed = document()
        values = array(changed["steps"][0][field], "<u4").copy()
        values[2] = V
        changed["steps"][0][field] = encoded(values)
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    def test_places_of_seen_tokens_beyond_the_tokens_are_refused(self, document):
        changed = document()
        changed["steps"][0]["seen"] = encoded(np.array([99], "<u4"))
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
    def test_what_is_no_trace_is_refused(self, text):
        with pytest.raises(ValidationError):
            Trace.model_validate_json(text)


class TestRecord:
    @pytest.mark.parametrize("early_norm", [True, False])
    @pytest.mark.parametrize(("penalty", "position"), [(1.0, "before"), (1.5, "before"), (1.5, "after")])
    def test_every_number_is_that_of_the_whole_vocabulary(self, readout, naive, early_norm, penalty, position):
        decoding = Decoding(
            max_new_tokens=4, early_norm=early_norm, repetition_penalty=penalty, penalty_position=position
        )
        trace = recorded(readout, PROMPT, LANES, decoding)
        for lane, step in ((n, step) for n in range(2) for step in trace.lane_steps(n)):
            prefix = PROMPT + trace.lane_ids(lane)[: step.index]
            mature = naive.logits(prefix)
            if position == "before":
                mature = penalise(mature, prefix, penalty)
            log_q = [log_softmax(naive.logits(prefix, j, early_norm=early_norm)) for j in range(1, N)]
            log_q = np.stack([*log_q, log_softmax(mature)])
            assert step.top_ids.tolist() == log_q.argmax(1).tolist()
            assert step.top_p.tolist() == pytest.approx(np.exp(log_q.max(1)).tolist(), abs=2e-3)
            assert step.layer_entropy.tolist() == pytest.approx([entropy(np.exp(q)) for q in log_q], abs=5e-3)
            divergences = [jensen_shannon(np.exp(q), np.exp(log_q[-1])) for q in log_q]
            assert step.jsd.tolist() == pytest.approx(divergences, abs=1e-3)
            np.testing.assert_allclose(step.log_q_table, log_q[:, step.tokens].T, rtol=1e-3, atol=2e-3)
            most = set(np.argsort(-log_q[-1])[:7].tolist())
            assert set(step.tokens[:7].tolist()) == most
            exact = set(step.tokens[: len(step.exact_log_q)].tolist())
            assert {step.tokens[place] for place in step.seen} == exact & set(prefix)
            for number, choice in enumerate(step.choices):
                ranks = 1 + (log_q > log_q[:, [choice.id]]).sum(1)
                assert step.rank_table[number].tolist() == ranks.tolist()
                assert choice.rank == ranks[-1]
                settings = {"penalty": penalty, "position": position, "early_norm": early_norm}
                own = log_softmax(naive.scores(prefix, LANES[number].layer, LANES[number].alpha, **settings))
                assert choice.id == own.argmax()
                assert choice.p == pytest.approx(math.exp(own.max()), abs=1e-3)
                assert choice.entropy == pytest.approx(entropy(np.exp(own)), abs=5e-3)

    def test_the_most_probable_tokens_have_their_ranks_in_every_layer(self, readout, naive):
        trace = Trace.model_validate_json(recorded(readout, PROMPT, LANES, Decoding(max_new_tokens=4)).to_json())
        for step in trace.lane_steps(1):
            prefix = PROMPT + trace.lane_ids(1)[: step.index]
            logits = np.stack([naive.logits(prefix, j) for j in range(1, N)] + [naive.logits(prefix)])
            told = {token: step.ranks_of(token) for token in step.tokens.tolist()}
            assert all(told[token] is not None for token in step.tokens[:SHOWN].tolist())
            for token, ranks in told.items():
                if ranks is not None:
                    real = 1 + (logits > logits[:, [token]]).sum(1)
                    assert (np.abs(ranks / real - 1) < 0.03).all()
                    assert ranks[real <= EXACT].tolist() == real[real <= EXACT].tolist()
            assert step.ranks_of(next(t for t in range(V) if t not in told)) is None

    def test_a_trace_from_before_ranks_were_kept_still_opens(self, trace):
        old = json.loads(trace.to_json())
        for step in old["steps"]:
            del step["shown_ranks"]
        step = Trace.model_validate_json(json.dumps(old)).steps[0]
        assert step.ranks_of(step.choices[0].id).tolist() == step.rank_table[0].tolist()
        assert step.ranks_of(next(t for t in step.tokens.tolist() if t not in {c.id for c in step.choices})) is None

    def test_shared_steps_are_stored_once_until_the_fork(self, readout):
        trace = recorded(readout, PROMPT, LANES, Decoding(max_new_tokens=8))
        one, other = (trace.lane_ids(lane) for lane in range(2))
        fork = next(i for i in range(8) if one[i] != other[i])
        assert trace.fork == fork
        assert len(trace.steps) == (fork + 1) + 2 * (7 - fork)
        assert [step.index for step in trace.lane_steps(1)] == list(range(8))
        assert [one, other] == texts(compare(readout, PROMPT, LANES, Decoding(max_new_tokens=8)))

    def test_lanes_that_never_differ_have_no_fork(self, readout):
        assert recorded(readout, PROMPT, LANES[:1] * 2, Decoding(max_new_tokens=3)).fork is None

    def test_the_digest_is_that_of_the_generated_ids(self, readout, trace):
        again = recorded(readout, PROMPT, trace.lanes, trace.decoding)
        assert again.digest == trace.digest
        other = trace.decoding.model_copy(update={"seed": 9})
        assert recorded(readout, PROMPT, trace.lanes, other).digest != trace.digest

    def test_every_id_that_occurs_has_its_text(self, trace):
        ids = {*trace.prompt_ids}.union(*(s.taken for s in trace.steps), *(s.top_ids.tolist() for s in trace.steps))
        ids.update(c.id for s in trace.steps for c in s.choices)
        assert ids <= trace.pieces.keys()

    def test_a_stopped_trace_says_so_where_nothing_else_ended_it(self, readout):
        info = ModelInfo(name="tiny", dtype="float32", n_layers=N, vocab_size=V)
        decoding = Decoding(max_new_tokens=5)
        recorder = Recorder(info, "", PROMPT, LANES, decoding)
        first = next(compare(readout, PROMPT, LANES, decoding))
        recorder.add(first.tokens, {0: "eos"}, first.steps)
        assert recorder.trace(str, str).stopped().ends == ("eos", "stopped")


PENALTIES = [(1.0, "before"), (1.4, "before"), (1.4, "after")]
CHOICES = [
    {},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 5},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
]


def scripts_for(lanes, scripts):
    """The two recorded texts for any number of lanes, so that the rows are the recorded ones."""
    return {n: scripts[n % 2] for n in range(len(lanes))}


class TestWhatIf:
    @pytest.mark.parametrize("choice", CHOICES, ids=str)
    @pytest.mark.parametrize(("penalty", "position"), PENALTIES)
    def test_names_the_token_that_really_decoding_the_step_takes(self, readouts, choice, penalty, position):
        """The recorded texts are replayed with a lane for every setting, and each lane's own choice is looked at."""
        random = np.random.default_rng(0)
        checked = wrong = 0
        for number, readout in enumerate(readouts):
            early_norm, prompt_ids = bool((number + CHOICES.index(choice)) % 2), prompt(4 + number, seed=number)
            decoding = Decoding(
                max_new_tokens=4,
                early_norm=early_norm,
                repetition_penalty=penalty,
                penalty_position=position,
                seed=number,
                **choice,
            )
            trace = recorded(readout, prompt_ids, LANES, decoding)
            trace = Trace.model_validate_json(trace.to_json())
            layers = random.choice(np.arange(1, N), 5, replace=False).tolist()
            settings = list(itertools.product(layers, ALPHAS))
            lanes = [Lane(name="", layer=layer, alpha=alpha) for layer, alpha in settings]
            scripts = scripts_for(lanes, {n: (trace.lane_ids(n), "length") for n in range(2)})
            for advance in compare(readout, prompt_ids, lanes, decoding, scripts=scripts):
                for lane in range(2):
                    real = next(step for step in advance.steps if lane in step.lanes)
                    exact_alpha = trace.lane_steps(lane)[advance.index].exact_alpha
                    for n, (layer, alpha) in enumerate(settings):
                        if alpha >= exact_alpha:
                            checked += 1
                            wrong += trace.what_if(lane, advance.index, layer, alpha) != real.choices[n].id
        assert wrong == 0
        assert checked > 300

    @pytest.mark.parametrize(("penalty", "position"), PENALTIES)
    def test_is_exact_at_exact_alpha_itself_at_every_layer(self, readouts, penalty, position):
        capped = 0
        for number, readout in enumerate(readouts):
            decoding = Decoding(max_new_tokens=3, repetition_penalty=penalty, penalty_position=position)
            trace = recorded(readout, prompt(6, seed=number), LANES, decoding)
            scripts = {n: (trace.lane_ids(n), "length") for n in range(2)}
            for step in trace.steps:
                capped += step.exact_alpha > ALPHA_MIN
                lanes = [Lane(name="", layer=layer, alpha=step.exact_alpha) for layer in (1, *range(1, N))]
                replay = compare(readout, trace.prompt_ids, lanes, decoding, scripts=scripts_for(lanes, scripts))
                real = next(s for a in replay if a.index == step.index for s in a.steps if step.lanes[0] in s.lanes)
                for lane, choice in zip(lanes, real.choices, strict=True):
                    assert step.what_if(lane.layer, lane.alpha, decoding) == choice.id
        assert capped

    def test_names_what_a_lane_writes_that_starts_from_the_recorded_prefix(self, readouts):
        """Nothing is replayed here: prompt and prefix are the prompt, and a lane for every layer takes one step."""
        decoding = Decoding(max_new_tokens=5, repetition_penalty=1.4)
        trace = recorded(readouts[1], PROMPT, LANES, decoding)
        lanes = [Lane(name="", layer=layer, alpha=0.1) for layer in range(1, N)]
        for step in trace.lane_steps(1):
            prefix = [*trace.prompt_ids, *trace.lane_ids(1)[: step.index]]
            one_step = decoding.model_copy(update={"max_new_tokens": 1})
            written = texts(compare(readouts[1], prefix, lanes, one_step, record=False))
            assert [[trace.what_if(1, step.index, lane.layer, lane.alpha)] for lane in lanes] == written

    def test_the_settings_a_lane_had_give_the_token_it_chose(self, trace):
        for step in trace.steps:
            if step.exact_alpha <= LANES[1].alpha:
                assert step.what_if(22, 0.1, trace.decoding) == step.choices[1].id

    def test_below_what_is_recorded_is_refused_with_the_bound(self, readouts):
        trace = recorded(readouts[0], PROMPT, LANES, Decoding(max_new_tokens=1))
        step = trace.steps[0]
        assert step.exact_alpha > ALPHA_MIN
        with pytest.raises(ValueError, match="recorded for alpha from"):
            trace.what_if(0, 0, 22, step.exact_alpha * 0.99)
        sharp = recorded(readouts[2], PROMPT, LANES, Decoding(max_new_tokens=1))
        assert sharp.steps[0].exact_alpha == ALPHA_MIN
        with pytest.raises(ValueError, match=r"recorded for alpha from 0\.01"):
            sharp.what_if(0, 0, 22, 0.0099)

    @pytest.mark.parametrize(
        ("layer", "alpha"), [(0, 0.1), (30, 0.1), (True, 0.1), (22, 1.5), (22, math.nan), (22, True)]
    )
    def test_settings_out_of_range_are_refused(self, trace, layer, alpha):
        with pytest.raises(ValueError, match="must be"):
            trace.what_if(0, 0, layer, alpha)

    def test_is_exact_on_a_step_whose_tokens_are_all_equally_probable(self):
        """More tokens than are kept share the maximum, so every α has a head of the whole vocabulary."""
        log_q = torch.full((3, 40), -math.log(40))
        log_q[0] = torch.linspace(0, 1, 40).flip(0).log_softmax(-1)
        decoding = Decoding()
        F = log_q[-1] - log_q[0]
        (step,) = record_steps(
            0,
            [Row((0,), (0,))],
            Allowance(1),
            choices=torch.tensor([[0]]),
            scores=log_q[None, -1:],
            log_q=log_q[:, None],
            ids=torch.tensor([[1]]),
            noise=None,
        )
        try:
            named = step.what_if(1, 1.0, decoding)
        except ValueError:
            return  # saying that it is not recorded is exact, too
        assert named == F.argmax()
