"""How much of a visitor's runs is remembered."""

from app.tabs.compare import inspector
from app.tabs.compare.inspector import MAX_TRAIL, Crumb, _remembered


def test_a_trail_keeps_its_last_runs(forked):
    trail = [Crumb(str(number), forked) for number in range(MAX_TRAIL + 3)]
    assert [crumb.label for crumb in _remembered(trail)] == [str(number) for number in range(3, MAX_TRAIL + 3)]


def test_long_runs_are_forgotten_sooner_but_never_the_last(forked, monkeypatch):
    steps = len(forked.steps)
    trail = [Crumb(str(number), forked) for number in range(5)]
    monkeypatch.setattr(inspector, "MAX_TRAIL_STEPS", 2 * steps + 1)
    assert [crumb.label for crumb in _remembered(trail)] == ["3", "4"]
    monkeypatch.setattr(inspector, "MAX_TRAIL_STEPS", steps - 1)
    assert [crumb.label for crumb in _remembered(trail)] == ["4"]
