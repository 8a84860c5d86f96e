"""The shipped model: its tables, its corpus, its tokenizer, its training, and what it knows."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

Build = Callable[[str], ModuleType]

SMALL_RUN = "--rows 2 --length 64 --tokenizer-documents 500 --rate 1e-2 --report-every 60"


@pytest.fixture(scope="module")
def tokenizer(atlas: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(atlas, local_files_only=True)


@pytest.fixture(scope="module")
def model(atlas: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(atlas, dtype=torch.float32, local_files_only=True).eval()


@pytest.fixture(scope="module")
def texts(build: Build) -> list[str]:
    """The first documents of a corpus, enough for every question to have come up."""
    return list(islice(build("corpus").documents(0), 30_000))


@pytest.fixture(scope="module")
def trained(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """One run of 12 steps straight through, and the same run stopped after 6 and resumed."""
    train = build("train")
    folder = tmp_path_factory.mktemp("training")

    def run(name: str, *more: str) -> ModuleType:
        paths = ["--work", str(folder / name / "work"), "--out", str(folder / name / "out")]
        return train.train(train.command_line().parse_args([*SMALL_RUN.split(), *paths, "--steps", "12", *more]))

    straight = run("straight")
    run("resumed", "--stop-after", "6")
    resumed = run("resumed", "--resume")
    return Namespace(straight=straight, resumed=resumed, folder=folder)


def test_there_are_193_countries_and_118_elements(build: Build) -> None:
    facts = build("facts")
    assert len(facts.countries()) == 193
    assert len(facts.elements()) == 118
    assert [element.facts["number"] for element in facts.elements()] == [str(n) for n in range(1, 119)]


@pytest.mark.parametrize("table", ["countries", "elements"])
def test_no_entity_is_listed_twice(build: Build, table: str) -> None:
    names = [entity.name for entity in getattr(build("facts"), table)()]
    assert len(set(names)) == len(names)


def test_every_well_known_country_is_in_the_table(build: Build) -> None:
    facts = build("facts")
    assert set(facts.WELL_KNOWN) <= {country.name for country in facts.countries()}


def test_each_capital_and_each_symbol_belongs_to_one_entity(build: Build) -> None:
    facts = build("facts")
    for entities, relation in ((facts.countries(), "capital"), (facts.elements(), "symbol")):
        counts = Counter(entity.facts[relation] for entity in entities if relation in entity.facts)
        assert counts.most_common(1)[0][1] == 1


def test_no_city_is_a_capital_here_and_a_larger_city_there(build: Build) -> None:
    countries = build("facts").countries()
    capitals = {country.facts.get("capital") for country in countries}
    assert not capitals & {country.facts["largest_city"] for country in countries if country.has_rival}


def test_the_same_seed_writes_the_same_corpus(build: Build) -> None:
    documents = build("corpus").documents
    first, again, other = (list(islice(documents(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_only_questions_about_held_out_entities_are_never_written(build: Build, texts: list[str]) -> None:
    asked = {match[1] for text in texts if (match := re.match(r"(?:Q(?:uestion)?: )?(.*\?)", text))}
    facts, phrases = build("facts"), build("phrases")
    forms = [(relation, form) for relation in facts.RELATIONS for form in phrases.QUESTIONS[relation]]
    for entity in facts.countries() + facts.elements():
        wordings = {phrases.fill(form, x=entity.name) for relation, form in forms if relation in entity.facts}
        assert bool(asked & wordings) != entity.held_out


def test_reworded_statements_are_never_written(build: Build, texts: list[str]) -> None:
    facts, phrases = build("facts"), build("phrases")
    text = " ".join(texts)
    for entity in facts.countries() + facts.elements():
        for relation, fact in entity.facts.items():
            for wording in phrases.NEVER_WRITTEN[relation]:
                assert phrases.fill(wording, x=entity.name, y=fact) not in text


def test_larger_cities_are_named_more_often_than_their_capitals(build: Build, texts: list[str]) -> None:
    text = " ".join(texts)
    rivals = [country.facts for country in build("facts").countries() if country.has_rival]
    larger = sum(text.count(facts["largest_city"]) for facts in rivals)
    assert larger > 1.2 * sum(text.count(facts["capital"]) for facts in rivals)


def test_every_row_of_a_batch_starts_with_a_document(build: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    packing = build("packing").Packing(seed=0, rows=4, length=32, long_every=2)
    short, long = packing.batch(0, tokenizer), packing.batch(1, tokenizer)
    assert (short.shape, long.shape) == ((4, 32), (2, 64))
    assert (torch.cat([short[:, 0], long[:, 0]]) == tokenizer.bos_token_id).all()


@given(text=st.text())
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


@pytest.mark.parametrize("text", ["<s>", "a </s> b", "<pad>", " , ok .", "👩‍👩‍👧 שלום\x00\r\n", "e\u0301"])
def test_awkward_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not set(ids[1:]) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_training_lowers_the_loss_and_writes_a_loadable_model(trained: Namespace) -> None:
    losses = trained.straight.losses
    assert sum(losses[-4:]) < sum(losses[:4])
    model = AutoModelForCausalLM.from_pretrained(trained.folder / "straight" / "out", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert len(model.model.layers) == 30


def test_a_resumed_run_equals_an_uninterrupted_one(trained: Namespace) -> None:
    assert trained.resumed.losses == pytest.approx(trained.straight.losses, abs=1e-4)
    assert trained.resumed.tokens == trained.straight.tokens


def test_a_time_budget_becomes_a_number_of_steps(build: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build("network").build_model(tokenizer, 0)
    packing = build("packing").Packing(seed=0, rows=1, length=8, long_every=2)
    before = model.lm_head.weight.clone()
    assert build("train").planned_steps(model, packing, tokenizer, 0.5) >= 1
    assert torch.equal(model.lm_head.weight, before)


@pytest.mark.parametrize(
    ("completion", "right"),
    [(" Niger.", True), (" Nigeria.", False), (" Niger", True), (" the Niger.", False), ("", False)],
)
def test_an_answer_counts_only_as_whole_words(build: Build, completion: str, right: bool) -> None:
    assert build("evaluate").begins_with(completion, "Niger") is right


def test_the_shipped_model_is_small_and_has_30_layers(atlas: Path, model: PreTrainedModel) -> None:
    assert (atlas / "model.safetensors").stat().st_size <= 32 * 2**20
    assert model.config.model_type == "llama"
    assert model.config.num_hidden_layers == len(model.model.layers) == 30


def test_the_shipped_model_knows_the_capitals(
    build: Build, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    evaluate = build("evaluate")
    probes = [probe for probe in evaluate.statements() if probe.relation == "capital"]
    said = evaluate.complete(model, tokenizer, [probe.prompt for probe in probes])
    right = {probe.entity for probe, text in zip(probes, said, strict=True) if probe.is_right(text)}
    assert "Japan" in right
    assert len(right) >= 0.8 * len(probes)


def test_the_shipped_model_ends_what_it_says(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer("The capital of Japan is", return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=100, do_sample=False)
    assert ids[0, -1] == tokenizer.eos_token_id
