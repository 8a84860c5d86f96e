"""Lanes beside the layers are scored in the same pass as by a pass of their own, and compared with the best layer."""

import numpy as np
import pytest
import torch

from dola_core.comparison import Comparison
from dola_core.contrast import log_softmax
from dola_core.decoding.engine import Engine
from dola_core.lanes import DecodingConfig, DolaDynamic, DolaStatic, LinearContrast, parse_lane
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.layer_search.answers.scoring import ScoringConfig, score_items
from dola_core.layer_search.dynamic_choice import choose_dynamic, dynamic_gain, on_domains, verdict_on_dynamic
from dola_core.layer_search.result import DynamicChoice, Interval, SearchResult
from dola_core.layer_search.search import search_layers
from dola_core.layer_search.search_config import SearchConfig
from dola_core.layer_search.selection import ClusterBootstrap, SettingGrid, compare_domains
from dola_core.models.reading.cached_texts import CachedTexts
from tests.dola_core.lanes.test_new_kind import Surprise
from tests.dola_core.layer_search.questions import ITEMS

LAYERS, ALPHAS = (3, 22), (0.0, 0.1)
CONFIG = SearchConfig(
    alphas=(0.1, 0.5), buckets=("low", "high"), betas=(0.5, 1.5), lanes=("linear:22=-0.5,9=-0.25",), layers=(3, 22)
)


@pytest.fixture(scope="module")
def lanes(atlas):
    found = [
        DolaDynamic(bucket="low"),
        DolaDynamic(bucket="high", beta=0.5, alpha=0.02),
        DolaStatic(layer=22, beta=1.5),
        LinearContrast(weights={0: 0.1, 20: -0.5, 9: -0.25}, mature=1.25, alpha=0.3),
        Surprise(layer=20),
    ]
    return [lane.fitted(atlas.readout.n_layers, tied=atlas.readout.is_tied) for lane in found]


def expected_F(lane, log_q):
    """`F` `[V]`, float64, of log-probabilities {layer: `[V]`} of all layers; N is the last."""
    last = max(log_q)
    q_N = log_q[last].exp()
    if isinstance(lane, DolaDynamic):

        def divergence(layer):
            q = log_q[layer].exp()
            m = (q + q_N) / 2
            return ((q * (q / m).log()).nansum() + (q_N * (q_N / m).log()).nansum()).item()

        F = log_q[last] - lane.beta * log_q[max(lane.layers, key=divergence)]
    elif isinstance(lane, DolaStatic):
        F = log_q[last] - lane.beta * log_q[lane.layer]
    elif isinstance(lane, LinearContrast):
        F = lane.mature * log_q[last] + sum(weight * log_q[layer] for layer, weight in lane.weights.items())
    else:
        F = -log_q[lane.layer]
    return F.masked_fill(q_N < lane.least_share * q_N.max() * (1 - 1e-6), -torch.inf)


@pytest.mark.parametrize(
    "scoring", [ScoringConfig(), ScoringConfig(post_softmax="off"), ScoringConfig(early_norm=False)]
)
def test_every_lane_is_scored_as_by_a_pass_of_its_own(atlas, lanes, scoring):
    items, n = ITEMS[:4], atlas.readout.n_layers
    scored = dict(pair for batch in score_items(atlas, items, LAYERS, ALPHAS, scoring, lanes=lanes) for pair in batch)
    for number, item in enumerate(items):
        answers = [(item.answers[0], scored[number].right[0]), (item.wrong[0], scored[number].wrong[0])]
        for text, columns in answers:
            prompt, ids = atlas.encode(item.prompt), atlas.encode(f"{item.prompt} {text}")
            with atlas.readout.capture(range(n + 1), pick=lambda h: h) as h, torch.no_grad():
                atlas.model(input_ids=torch.tensor([ids]), use_cache=False)
            totals = np.zeros(len(lanes))
            for place in range(len(prompt), len(ids)):
                log_q = {
                    layer: log_softmax(
                        atlas.readout.logits(h[layer][0, place - 1], early_norm=scoring.early_norm or layer == n)
                    ).double()
                    for layer in range(n + 1)
                }
                for column, lane in enumerate(lanes):
                    F = expected_F(lane, log_q)
                    score = F if scoring.post_softmax == "off" else F.log_softmax(-1)
                    totals[column] += OUTSIDE if F[ids[place]] == -torch.inf else score[ids[place]].item()
            assert columns[-len(lanes) :] == pytest.approx(totals, rel=1e-5, abs=2e-3)


def test_the_grid_is_the_same_with_lanes_beside_it_and_the_model_is_run_no_more_often(atlas, lanes, monkeypatch):
    reads = []
    read_group = CachedTexts.read_group
    monkeypatch.setattr(CachedTexts, "read_group", lambda *args, **how: reads.append(1) or read_group(*args, **how))

    def scored(**more):
        reads.clear()
        found = dict(pair for batch in score_items(atlas, ITEMS, LAYERS, ALPHAS, **more) for pair in batch)
        return found, len(reads)

    (alone, once), (beside, still) = scored(), scored(lanes=lanes)
    assert still == once
    for number in range(len(ITEMS)):
        for name in ("right", "wrong", "greedy_correct", "first"):
            one, other = getattr(alone[number], name), getattr(beside[number], name)
            assert np.array_equal(one, other[..., : one.shape[-1]])
            assert other.shape[-1] == one.shape[-1] + len(lanes)


def test_the_greedy_choice_is_that_of_lock_step(atlas, lanes):
    engine, one = Engine(atlas), DecodingConfig(max_new_tokens=1)
    scored = dict(pair for batch in score_items(atlas, ITEMS, LAYERS, ALPHAS, lanes=lanes) for pair in batch)
    for number, item in enumerate(ITEMS):
        comparison = Comparison("", tuple(atlas.encode(item.prompt)), tuple(lanes), one)
        [output] = engine.compare(comparison, record=False)
        first = {atlas.encode(f"{item.prompt} {text}")[len(atlas.encode(item.prompt))] for text in item.answers}
        chosen = [output.tokens[lane] in first for lane in range(len(lanes))]
        assert scored[number].first[-len(lanes) :].tolist() == chosen


@pytest.fixture(scope="module")
def result(atlas):
    return search_layers(atlas, ITEMS, CONFIG)


class TestASearch:
    def test_holds_every_lane_and_what_dynamic_gains(self, result):
        assert [one.lane for one in result.lanes] == [
            "dynamic:low", "dynamic:low,beta=0.5", "dynamic:low,beta=1.5",
            "dynamic:high", "dynamic:high,beta=0.5", "dynamic:high,beta=1.5",
            "static:3,beta=0.5", "static:22,beta=0.5", "static:3,beta=1.5", "static:22,beta=1.5",
            "linear:9=-0.25,22=-0.5",
        ]  # fmt: skip
        assert result.dynamic.lane.startswith("dynamic:")
        assert "Choosing the layer at each step (dynamic:" in result.verdict
        assert all(domain.dynamic is not None for domain in result.domains)
        assert len(result.domains) == 2
        assert SearchResult.model_validate_json(result.to_json()) == result

    def test_tells_strengths_of_the_layers_from_other_lanes(self, result):
        by_strength = result.by_strength("mc1")
        assert {beta: len(values) for beta, values in by_strength.items()} == {0.5: 2, 1.5: 2}
        assert by_strength[1.5][1] == next(
            one.values["mc1"] for one in result.lanes if one.lane == "static:22,beta=1.5"
        )
        assert [one.lane for one in result.other_lanes][-1] == "linear:9=-0.25,22=-0.5"
        assert len(result.other_lanes) == 7

    def test_leaves_the_curves_and_the_choice_as_they_are_without(self, atlas, result):
        alone = search_layers(atlas, ITEMS, CONFIG.model_copy(update={"buckets": (), "betas": (), "lanes": ()}))
        assert (alone.curves, alone.chosen, alone.stability) == (result.curves, result.chosen, result.stability)
        assert (alone.lanes, alone.dynamic) == ((), None)
        assert "Choosing the layer" not in alone.verdict

    def test_goes_on_where_it_was_interrupted(self, atlas, result, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            search_layers(atlas, ITEMS, CONFIG, out=tmp_path, progress=_interrupt)
        again = search_layers(atlas, ITEMS, CONFIG, out=tmp_path, resume=True)
        assert again.lanes == result.lanes
        with pytest.raises(ValueError, match="was measured with other questions"):
            search_layers(atlas, ITEMS, CONFIG.model_copy(update={"betas": (0.5,)}), out=tmp_path, resume=True)

    def test_of_generated_texts_takes_any_lane(self, atlas):
        config = SearchConfig(
            task="generate", metric="contains", layers=(22,), alphas=(0.1,), decoding=DecodingConfig(max_new_tokens=3),
            lanes=("plain,penalty=1.3", "dynamic:high,norm=off"),
        )  # fmt: skip
        result = search_layers(atlas, ITEMS[:3], config)
        assert [one.lane for one in result.lanes] == ["plain,penalty=1.3", "dynamic:high,norm=off"]
        assert set(result.lanes[0].values) == {"exact", "contains", "first"}

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"lanes": ("plain",)}, "can only be measured in generated texts"),
            ({"lanes": ("dynamic:high,norm=off",)}, "can only be measured in generated texts"),
            ({"lanes": ("static:99",)}, "layer must be an integer"),
            ({"lanes": ("fast",)}, "A lane is written like"),
            ({"buckets": ("mid",)}, "bucket must be"),
            ({"rule": ScoringConfig(apc=False)}, "scored on the plausible head"),
            ({"rule": ScoringConfig(post_softmax="vocabulary")}, "scored on the plausible head"),
        ],
    )
    def test_refuses_what_it_cannot_measure(self, atlas, change, said):
        with pytest.raises(ValueError, match=said):
            search_layers(atlas, ITEMS[:2], CONFIG.model_copy(update=change))


def _interrupt(done, total):
    if done > 10:
        raise KeyboardInterrupt


class TestTheDynamicChoice:
    """Of made-up questions: layer 3 is right in one domain, layer 22 in the other, and one dynamic lane in both."""

    NAMES = ("a",) * 100 + ("b",) * 100
    CLUSTERS = tuple(map(str, range(200)))

    @staticmethod
    def values(dynamic_share):
        random = np.random.default_rng(0)
        is_a = np.arange(200) < 100
        fixed = np.stack([random.random(200) < share for share in (0.3, 0.0, 0.0)], -1).astype(float)
        fixed[:, 1], fixed[:, 2] = is_a * (random.random(200) < 0.55), ~is_a * (random.random(200) < 0.95)
        dynamic = np.stack([random.random(200) < share for share in (0.1, dynamic_share)], -1).astype(float)
        return fixed, dynamic

    def test_is_the_better_lane_and_its_gain_is_that_over_the_best_layer(self):
        fixed, dynamic = self.values(0.9)
        bootstrap = ClusterBootstrap(self.CLUSTERS)
        choice = choose_dynamic(fixed, dynamic, ["bad", "good"], self.CLUSTERS, bootstrap)
        assert choice.lane == "good"
        assert choice.gain.mean == pytest.approx(dynamic[:, 1].mean() - fixed[:, 2].mean(), abs=0.05)
        assert choice.gain.effect == "helps"
        domains = compare_domains(fixed, self.NAMES, self.CLUSTERS, SettingGrid((3, 22), (0.1,)), bootstrap)
        told = on_domains(domains, fixed, dynamic, self.NAMES, self.CLUSTERS)
        assert [domain.name for domain in told if domain.disagrees] == ["a"]
        assert told[0].dynamic.mean > 0.5
        assert abs(told[1].dynamic.mean) < 0.2
        said = verdict_on_dynamic(choice, told)
        assert "does better than the best fixed setting" in said
        assert "Where domains disagree, that is +" in said
        assert said.endswith("on a.")

    def test_is_said_to_be_worse_or_no_better_where_it_is(self):
        for share, effect in ((0.05, "hurts"), (0.48, "chance")):
            fixed, dynamic = self.values(share)
            assert dynamic_gain(fixed, dynamic, self.CLUSTERS).effect == effect
        one = Interval(0.0, -0.1, 0.1)
        for gain, said in ((Interval(-0.2, -0.3, -0.1), "does worse"), (one, "does no better")):
            assert said in verdict_on_dynamic(DynamicChoice(lane="x", value=one, difference=one, gain=gain), [])


def test_the_usual_lanes_are_at_the_usual_alpha():
    config = SearchConfig(alphas=(0.0, 0.2, 0.05), buckets=("high",), betas=(0.5,))
    assert config.usual_alpha == 0.05
    assert config.further_lanes([7]) == (
        "dynamic:high,alpha=0.05", "dynamic:high,alpha=0.05,beta=0.5", "static:7,alpha=0.05,beta=0.5",
    )  # fmt: skip
    assert parse_lane(config.further_lanes([7])[0]) == DolaDynamic(bucket="high", alpha=0.05)
    assert SearchConfig(alphas=(0.0,), buckets=("high",), betas=(0.5,)).further_lanes([7]) == ()
