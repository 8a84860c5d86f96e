"""Both languages hold the same keys with the same placeholders, and no key is unused."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.language import CODES, ENGLISH, VisitorError, language, preferred
from app.ui.components import script

ROOT = Path(__file__).parents[2]
CHINESE = language("zh")


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_hold_the_same_keys_with_the_same_placeholders():
    assert list(ENGLISH.words) == list(CHINESE.words)
    for key, text in ENGLISH.words.items():
        assert placeholders(text) == placeholders(CHINESE(key)), key


COMBINING = {
    "sentence.settings", "sentence.with_settings", "sentence.stop", "sentence.comma", "sentence.because",
    "sentence.share", "sentence.percent", "strips.reads", "strips.ended_by",
    "chart.candidate_alt", "chart.then",
}  # fmt: skip
"""Keys that only combine others, or numbers."""


def test_nothing_is_left_in_english():
    same = {key for key, text in ENGLISH.words.items() if text == CHINESE(key)}
    assert same == {"controls.top_p", "option.JSD", "error.plain", "pane.static", "pane.dynamic"}
    for key in set(ENGLISH.words) - same - COMBINING:
        assert re.search(r"[\u4e00-\u9fff]", CHINESE(key)), key


BUILT_SECTIONS = {
    "metric", "option", "outcome", "recorded", "controls", "inspector", "lane", "pane", "strips", "keys", "toolbar",
    "file", "bar", "image",
}  # fmt: skip
"""Sections whose keys are put together from names, or handed to the browser whole."""
BUILT_KEYS = re.compile(
    r"chart\.(heat|layers)_\w+|error\.prompt_\w+|models\.(finding|reading|proving|compiling|replica)|search\.(one_|dynamic_)?(helps|hurts|chance)|search\.(points|nats)"
    r"|finding\.(helps|hurts|chance)|search\.(broken|mended)_n|search\.unit_(points|nats)"
    r"|sentence\.(would_|alone_)?(picks|draws|ends|alone)(_many)?|guide\.proposal_(little|clear|far)"
    r"|prompts\.by_\w+"
)
"""Further keys that are put together from names."""


def test_every_key_is_used_somewhere_on_the_page():
    python = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "app").rglob("*.py"))
    used = set(re.findall(r"""["'](\w+\.[\w-]+)["']""", python))
    browser = script()
    for key in ENGLISH.words:
        section, name = key.split(".")
        assert key in used or section in BUILT_SECTIONS or BUILT_KEYS.fullmatch(key), key
        if section in ("keys", "toolbar"):
            assert re.search(rf"\b{name}\b", browser), key


def test_no_words_stand_outside_the_language_files():
    """Capitalised prose in the page's modules, but for docstrings, would be a sentence nobody translated."""
    for file in (ROOT / "app").rglob("*.py"):
        text = re.sub(r'"""[\s\S]*?"""', "", file.read_text(encoding="utf-8"))
        text = re.sub(r"#.*", "", text).replace('"Value error, "', "")  # pydantic's prefix
        for said in re.findall(r'"([A-Z][a-z]+ [a-z]+[^"]*)"', text):
            to_programs = {"allowed.py", "guard.py", "request_checks.py", "body.py"}
            in_terminal = {"settings.py", "ray_app.py", "replica_pool.py", "address.py", "temporary.py", "ending.py"}
            assert file.name in {"examples.py", "theme.py"} | to_programs | in_terminal, (
                file.name,
                said,
            )


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh;q=0.8", "en"), ("de-DE,de;q=0.9", "en"),
        ("de,zh-TW;q=0.5", "zh"), ("en;q=0.1,zh;q=0.2", "zh"), ("zh;q=0", "en"), ("*", "en"),
    ],
)  # fmt: skip
def test_the_browsers_language_is_taken_where_it_is_ours(header, code):
    assert preferred(header).code == code
    assert preferred(header, "zh").code == "zh"
    assert preferred(header, "xx").code == code


@given(header=st.text(), asked=st.text())
def test_any_header_gives_a_language(header, asked):
    assert preferred(header, asked).code in CODES


def test_a_mistake_is_explained_in_both_languages():
    error = VisitorError("error.too_large", size=10)
    assert "10 MB" in str(error)
    assert error.message(CHINESE) == CHINESE("error.too_large", size=10)


def test_values_are_never_taken_for_placeholders():
    assert ENGLISH("error.plain", text="{size} {0} ${x}") == "{size} {0} ${x}"


@pytest.mark.parametrize("code", CODES)
def test_the_guide_has_its_formulas_its_numbers_and_their_sources(code):
    guide = language(code).guide
    assert guide.count("$$") == 8
    for word in ("2309.03883", "2410.18860", "2405.14507", "25.6", "34.5", "22.2"):
        assert word in guide
