"""What the trace keeps of each step: every number is that of the whole vocabulary."""

import json
import math

import numpy as np
import pytest
import torch

from dola_core.contrast import closeness
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.trace import step_record
from dola_core.trace.ranks import EXACT
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace
from dola_core.trace.step_record import SHOWN, Allowance, RowLanes, record_steps
from tests.dola_core.reference import entropy, jensen_shannon, log_softmax, penalise
from tests.dola_core.tiny import N, V, asked, compare, info_of, layer_and_alpha, prompt, recorded, texts

PROMPT = prompt(7)
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))


class TestRecord:
    @pytest.mark.parametrize("early_norm", [True, False])
    @pytest.mark.parametrize(("penalty", "position"), [(1.0, "before"), (1.5, "before"), (1.5, "after")])
    def test_every_number_is_that_of_the_whole_vocabulary(self, readout, naive, early_norm, penalty, position):
        decoding = DecodingConfig(
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
                own = log_softmax(naive.scores(prefix, *layer_and_alpha(LANES[number]), **settings))
                assert choice.id == own.argmax()
                assert choice.p == pytest.approx(math.exp(own.max()), abs=1e-3)
                assert choice.entropy == pytest.approx(entropy(np.exp(own)), abs=5e-3)

    def test_the_most_probable_tokens_have_their_ranks_in_every_layer(self, readout, naive):
        trace = Trace.model_validate_json(recorded(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=4)).to_json())
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

    def test_a_closeness_that_a_lane_chose_by_is_recorded_as_if_it_were_computed_anew(self, monkeypatch):
        """In one piece or in many: a vocabulary of any size is reduced a few layers at a time."""
        log_q = torch.randn(6, 2, 90, generator=torch.Generator().manual_seed(0)).mul(4).log_softmax(-1)
        known = torch.cat([torch.zeros(1, 2), closeness(log_q[-1], log_q[:-1])])

        def record(given):
            return record_steps(
                0,
                [RowLanes((0,), (3,)), RowLanes((1,), (4,))],
                Allowance(1),
                choices=torch.tensor([[3, 4], [5, 6]]),
                scores=log_q[-2:].transpose(0, 1),
                log_q=log_q,
                ids=torch.tensor([[1, 2], [1, 7]]),
                noise=None,
                closeness=given,
            )

        whole = [step.model_dump_json() for step in record(None)]
        monkeypatch.setattr(step_record, "CHUNK_LOGITS", 500)
        assert [step.model_dump_json() for given in (None, known) for step in record(given)] == 2 * whole

    def test_a_trace_from_before_ranks_were_kept_still_opens(self, trace):
        old = json.loads(trace.to_json())
        for step in old["steps"]:
            del step["shown_ranks"]
        step = Trace.model_validate_json(json.dumps(old)).steps[0]
        assert step.ranks_of(step.choices[0].id).tolist() == step.rank_table[0].tolist()
        assert step.ranks_of(next(t for t in step.tokens.tolist() if t not in {c.id for c in step.choices})) is None

    def test_shared_steps_are_stored_once_until_the_fork(self, readout):
        trace = recorded(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=8))
        one, other = (trace.lane_ids(lane) for lane in range(2))
        fork = next(i for i in range(8) if one[i] != other[i])
        assert trace.fork == fork
        assert len(trace.steps) == (fork + 1) + 2 * (7 - fork)
        assert [step.index for step in trace.lane_steps(1)] == list(range(8))
        assert [one, other] == texts(compare(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=8)))

    def test_lanes_that_never_differ_have_no_fork(self, readout):
        assert recorded(readout, PROMPT, LANES[:1] * 2, DecodingConfig(max_new_tokens=3)).fork is None

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
        decoding = DecodingConfig(max_new_tokens=5)
        recorder = Recorder(asked(PROMPT, LANES, decoding), info_of(readout))
        first = next(compare(readout, PROMPT, LANES, decoding))
        recorder.add(first.tokens, {0: "eos"}, first.steps)
        assert recorder.trace(str, str).stopped().ends == ("eos", "stopped")
