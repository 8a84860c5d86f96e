"""The chart of how many choices would change with another j*."""

from app.render.figures import changed_by_layer_card
from dola_core.lanes import DolaStatic
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def test_the_bars_count_what_would_change_against_the_run(forked):
    (bars,) = drawn(changed_by_layer_card(inspecting(forked, alpha=0.1))).data
    steps = [s for s in forked.lane_steps(1) if s.exact_alpha <= 0.1]
    for layer in (1, 12, 29):
        changed = sum(s.what_if(DolaStatic(layer=layer, alpha=0.1), forked.decoding) != s.choices[1].id for s in steps)
        assert bars.y[layer - 1] == changed
    assert sum(colour != bars.marker.color[0] for colour in bars.marker.color) == 1


def test_steps_of_which_too_little_was_recorded_are_counted_apart(forked):
    first, *others = forked.steps
    cut = forked.model_copy(update={"steps": (first.model_copy(update={"exact_alpha": 0.5}), *others)})
    told = changed_by_layer_card(inspecting(cut, alpha=0.1))["more"]
    assert "1 more choice has too many plausible tokens to tell." in told
    assert "too many" not in " ".join(changed_by_layer_card(inspecting(cut, alpha=0.5))["more"])


def test_the_text_twin_has_the_bars_that_matter(forked):
    card = changed_by_layer_card(inspecting(forked, alpha=0.1))
    (bars,) = drawn(card).data
    layer = inspecting(forked).focus_lane.layer
    most = max(bars.y)
    assert (
        f"{bars.y[layer - 1]} would change at j* = {layer}, at most {most} (j* = {bars.y.index(most) + 1})"
        in card["alt"]
    )
    assert card["sub"] == f"of {len(forked.lane_steps(1))} choices of DoLa-static, changed at α = 0.1"
