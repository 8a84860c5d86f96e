"""What was measured of a model's recorded settings, in words: the same numbers in the page's head, foot and tab."""

from typing import Literal

from app.language import Language
from dola_core.display import format_signed
from dola_core.models.preset import Preset, RecordedTest


def badge_text(preset: Preset, words: Language) -> str:
    """A few words for the page's head; without a test, an invitation to make one."""
    tested = preset.tested
    if tested is None:
        return words("finding.invitation")
    return words("finding.badge", n=f"{tested.questions:,}", mended=f"{tested.mended:,}", broken=f"{tested.broken:,}")


def finding_text(preset: Preset, words: Language) -> str:
    """What a test of the settings showed, in two sentences; without one, what is recorded in its place, if anything."""
    tested = preset.tested
    if tested is None:
        return preset.finding
    mean, low, high = (format_signed(number / 100, "points") for number in tested.gain)
    numbers = words(
        "finding.tested",
        n=f"{tested.questions:,}",
        layer=preset.layer,
        alpha=f"{preset.alpha:g}",
        mended=f"{tested.mended:,}",
        broken=f"{tested.broken:,}",
        gain=words("search.points", mean=mean, low=low, high=high),
    )
    return numbers + words(f"finding.{_effect(tested)}")


def _effect(tested: RecordedTest) -> Literal["helps", "hurts", "chance"]:
    """Whether the settings are better than plain decoding, worse, or neither beyond chance."""
    _, low, high = tested.gain
    return "helps" if low > 0 else "hurts" if high < 0 else "chance"
