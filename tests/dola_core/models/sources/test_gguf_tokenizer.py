"""The rules by which GGUF tokenizers cut text: those of llama.cpp, written down here once more."""

from functools import cache
from types import SimpleNamespace

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS, convert_gguf_tokenizer

from dola_core.errors import LoadError
from dola_core.models.sources.gguf import read_fields
from dola_core.models.sources.gguf_tokenizer import PROBE, RULES, Rule, follows, pieces, read_tokenizer
from tests.dola_core.models.sources.gguf_files import MERGES, VOCABULARY, write_gguf

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
END = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*")
CASED_END = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CJK = "[一-龥\u0800-一가-\ud7ff]+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
LLAMA_3 = (rf"{SHORT}|{WORD}|\p{{N}}{{1,3}}|{END}",)

PATTERNS = {
    "gpt-2": (GPT_2,),
    "smollm": (r"\p{N}", GPT_2),
    "deepseek-llm": (
        r"[\r\n]", r"\s?[\p{Lu}\p{Ll}\p{Lt}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CJK, r"\p{N}",
    ),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"),
    "llama3": LLAMA_3,
    "dbrx": LLAMA_3,
    "qwen2": (rf"{SHORT}|{WORD}|\p{{N}}|{END}",),
    "qwen35": (
        rf"{SHORT}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "tekken": (rf"{CASED[0]}|{CASED[1]}|\p{{N}}|{CASED_END}",),
    "gpt-4o": (rf"{CASED[0]}(?:{SHORT})?|{CASED[1]}(?:{SHORT})?|\p{{N}}{{1,3}}|{CASED_END}",),
}  # fmt: skip
"""By the first name of each rule: what cuts the text, one pattern after the other, each cutting what is left whole."""

LETTERS_AND_DIGITS = "abAZ'sStTrReEvVmMlLdD'éßǅʰªжЖあ你가ｎ019½Ⅷ٣"
OTHERS = "!=$.,:/-—“。！_<|  \n\n\r\t\u00a0\u3000\u0301🙂\u200d"
TEXTS = st.text(st.sampled_from(LETTERS_AND_DIGITS + OTHERS), max_size=24)


def cut(text: str, patterns: tuple[str, ...]) -> list[str]:
    """`text` in pieces: what a pattern finds, and what lies between."""
    whole = [text]
    for pattern in patterns:
        whole = [part for piece in whole for part in _isolated(piece, regex.compile(pattern))]
    return whole


def _isolated(text: str, pattern: regex.Pattern) -> list[str]:
    parts, end = [], 0
    for found in pattern.finditer(text):
        parts += [text[end : found.start()], found.group()]
        end = found.end()
    return [part for part in (*parts, text[end:]) if part]


@cache
def tokenizer_of(name: str) -> SimpleNamespace:
    """What `transformers` makes of a GGUF file whose rule is called `name`."""
    held = {"tokenizer_type": "gpt2", "pre_tokenizer_type": name, "tokens": VOCABULARY}
    backend, _ = convert_gguf_tokenizer("llama", held | {"merges": [" ".join(pair) for pair in MERGES]})
    return SimpleNamespace(backend_tokenizer=backend)


def named(rule: Rule) -> str:
    return rule.names[0]


@pytest.mark.parametrize("rule", RULES, ids=named)
@given(text=TEXTS)
def test_text_is_cut_as_the_rule_says(rule, text):
    tokenizer = tokenizer_of(named(rule))
    assert follows(tokenizer, rule)
    for given_text in (text, PROBE):
        assert pieces(tokenizer, given_text) == cut(given_text, PATTERNS[named(rule)])


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_every_name_of_a_rule_is_followed(rule):
    for name in rule.names:
        tokenizer = tokenizer_of(name)
        assert follows(tokenizer, rule), name
        assert pieces(tokenizer, PROBE) == cut(PROBE, PATTERNS[named(rule)])


def test_rules_are_told_apart():
    names = [name for rule in RULES for name in rule.names]
    assert len(names) == len(set(names))
    assert set(PATTERNS) == {named(rule) for rule in RULES}
    ways = [(rule.pieces, rule.as_llama_3) for rule in RULES]
    assert len(ways) == len(set(ways))


def test_all_rules_of_transformers_are_known():
    assert set(GGUF_PRE_TOKENIZER_SPLITS) <= {name for rule in RULES for name in rule.names}


def test_a_number_after_blank_lines_leaves_them_together():
    rule = next(rule for rule in RULES if "smollm" in rule.names)
    tokenizer = tokenizer_of("smollm")
    assert follows(tokenizer, rule)
    assert [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("\n\n1.")] == [
        "ĊĊ", "1", ".",
    ]  # fmt: skip


def tokenizer_in(file):
    return read_tokenizer(file, read_fields(file))


def test_llama_3_takes_a_word_that_is_a_token_without_merging_it(tmp_path):
    last = "".join(MERGES[-1])
    word, lacking = last.replace("Ġ", " "), MERGES[:-1]
    whole = [VOCABULARY.index(last)]
    plain = tokenizer_in(write_gguf(tmp_path / "a.gguf", rule="dbrx", add_bos=False, merges=lacking))
    assert plain(word)["input_ids"] != whole
    like_llama_3 = tokenizer_in(write_gguf(tmp_path / "b.gguf", rule="llama-bpe", add_bos=False, merges=lacking))
    assert like_llama_3(word)["input_ids"] == whole


@pytest.mark.parametrize(
    ("rule", "add_bos", "begins"),
    [
        ("llama-bpe", None, True), ("llama-bpe", True, True), ("llama-bpe", False, False), ("tekken", None, True),
        ("gpt-2", None, False), ("gpt-2", True, True), ("gpt-2", False, False),
    ],
)  # fmt: skip
def test_a_text_begins_with_bos_where_llama_cpp_puts_it(rule, add_bos, begins, tmp_path):
    tokenizer = tokenizer_in(write_gguf(tmp_path / "a.gguf", rule=rule, add_bos=add_bos))
    assert (tokenizer("Tokyo")["input_ids"][0] == 0) == begins


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("from-the-future", "by the rule 'from-the-future', which is not known here; put the model's tokenizer.json"),
        ("default", "by the rule 'default', which is not known here"),
        (None, "by a rule that it does not name; put the model's tokenizer.json"),
    ],
)
def test_an_unknown_rule_is_refused(rule, said, tmp_path):
    with pytest.raises(LoadError, match=said):
        tokenizer_in(write_gguf(tmp_path / "a.gguf", rule=rule))


def test_a_rule_that_transformers_does_not_follow_any_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.delitem(GGUF_PRE_TOKENIZER_SPLITS, "qwen2")
    with pytest.raises(LoadError, match="'qwen2', which this version of transformers does not follow; put"):
        tokenizer_in(write_gguf(tmp_path / "a.gguf", rule="qwen2"))
