"""What the page says of a model's recorded settings: in its head, at its foot and on the tab, with the same numbers."""

import re
from pathlib import Path

import pytest

from app.inputs.known_model import SEARCH
from app.language import ENGLISH, language
from app.paths import MODELS
from app.render.finding import badge_text, finding_text
from app.render.search_summary import opening
from dola_core.layer_search.result import SearchResult
from dola_core.models.preset import PRESET_FILE, Preset, RecordedTest

BOTH = pytest.mark.parametrize("words", [ENGLISH, language("zh")], ids=lambda words: words.code)
SHIPPED = pytest.mark.parametrize("folder", sorted({file.parent for file in MODELS.glob(f"*/{PRESET_FILE}")}), ids=str)


def preset_with(*gain: float) -> Preset:
    test = RecordedTest(data="x.jsonl", questions=1234, metric="said", mended=56, broken=7, gain=gain)
    return Preset(layer=21, alpha=0.2, finding="Older words.", tested=test)


def numbers(text: str) -> list[str]:
    return re.findall(r"[−+]?[\d,]*\d(?:\.\d+)?", text)


@BOTH
def test_the_badge_and_the_sentence_tell_the_test_in_both_languages(words):
    preset = preset_with(4.0, 1.25, 6.5)
    assert numbers(badge_text(preset, words)) == ["1,234", "56", "7"]
    assert numbers(finding_text(preset, words)) == ["1,234", "21", "0.2", "56", "7", "+4.0", "95", "+1.2", "+6.5"]
    assert "Older words." not in finding_text(preset, words)


@BOTH
@pytest.mark.parametrize(
    ("gain", "effect"), [((4.0, 1.0, 6.0), "helps"), ((-4.0, -6.0, -1.0), "hurts"), ((0.5, -0.6, 1.5), "chance")]
)
def test_the_sentence_says_no_more_than_the_interval_shows(words, gain, effect):
    ends = {name: words(f"finding.{name}") for name in ("helps", "hurts", "chance")}
    said = finding_text(preset_with(*gain), words)
    assert [name for name, end in ends.items() if said.endswith(end)] == [effect]


@BOTH
def test_without_a_test_the_badge_invites_and_the_recorded_words_stand(words):
    preset = Preset(layer=21, finding="It helps.")
    assert badge_text(preset, words) == words("finding.invitation")
    assert numbers(badge_text(preset, words)) == []
    assert finding_text(preset, words) == "It helps."
    assert finding_text(Preset(layer=21), words) == ""
    assert opening(Preset(layer=21), None, words) == (words("search.not_here"), "")


@BOTH
@SHIPPED
def test_head_foot_and_tab_of_a_shipped_model_have_the_same_numbers(words, folder: Path):
    preset = Preset.model_validate_json((folder / PRESET_FILE).read_bytes())
    search = SearchResult.model_validate_json((folder / SEARCH).read_bytes())
    foot, tab = finding_text(preset, words), opening(preset, search, words)
    assert tab.first == foot
    assert set(numbers(badge_text(preset, words))) <= set(numbers(foot))
    assert (preset.layer, preset.alpha) == (search.chosen.layer, search.chosen.alpha)


@SHIPPED
def test_a_shipped_models_gain_is_what_it_mends_less_what_it_breaks(folder: Path):
    test = Preset.model_validate_json((folder / PRESET_FILE).read_bytes()).tested
    assert test.gain[0] == pytest.approx(100 * (test.mended - test.broken) / test.questions, abs=0.01)
