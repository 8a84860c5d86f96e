import pytest

from app.render.token_strips import running_strips, token_strips
from dola_core.lanes import DolaStatic
from dola_core.trace.token_text import token
from tests.app.looking import inspecting


def test_the_strips_hold_every_token_of_both_lanes(forked):
    drawn = token_strips(inspecting(forked))
    for number, lane in enumerate(drawn["lanes"]):
        assert len(lane["tokens"]) == len(forked.lane_ids(number))
    assert len(drawn["prompt"]) == len(forked.prompt_ids)
    assert [lane["fork"] for lane in drawn["lanes"]] == [forked.fork] * 2


def test_lanes_are_alike_up_to_the_fork_and_differ_at_it(forked):
    a, b = (lane["tokens"] for lane in token_strips(inspecting(forked))["lanes"])
    assert [t["text"] for t in a[: forked.fork]] == [t["text"] for t in b[: forked.fork]]
    assert forked.lane_ids(0)[forked.fork] != forked.lane_ids(1)[forked.fork]
    assert a[forked.fork]["differs"]
    assert b[forked.fork]["differs"]


def test_a_ghost_at_the_fork_is_the_other_lanes_token(forked):
    a, b = (lane["tokens"][forked.fork] for lane in token_strips(inspecting(forked))["lanes"])
    assert a["ghosts"] == [{"side": "dola", "name": "DoLa-static", "text": b["text"]}]
    assert b["ghosts"] == [{"side": "base", "name": "Plain", "text": a["text"]}]


def test_every_lane_says_why_it_ended(forked):
    assert all(lane["end"] for lane in token_strips(inspecting(forked))["lanes"])


def test_a_running_lane_has_a_caret_and_no_end(forked):
    running = forked.model_copy(update={"ends": (None, "eos")})
    a, b = running_strips(inspecting(running))["lanes"]
    assert (a["running"], a["end"]) == (True, None)
    assert (b["running"], b["end"]) == (False, "end of text")
    assert [bool(piece.get("stops")) for piece in b["tokens"][-2:]] == [False, True]
    assert not any(piece.get("stops") for piece in a["tokens"])


@pytest.mark.parametrize("recorded", [0, 2, 5])
def test_a_text_that_is_ahead_of_its_record_is_shown_whole(forked, recorded):
    """Its last tokens without what other lanes would say, which is not known yet."""
    steps = tuple(step for step in forked.steps if step.index < recorded)
    running = forked.model_copy(update={"steps": steps, "ends": (None, None)})
    running = running.with_more([forked.lane_ids(lane)[recorded:] for lane in range(2)])
    whole = token_strips(inspecting(forked))["lanes"]
    for lane, complete in zip(running_strips(inspecting(running))["lanes"], whole, strict=True):
        assert [one["text"] for one in lane["tokens"]] == [one["text"] for one in complete["tokens"]]
        assert lane["fork"] == forked.fork
        assert [one["differs"] for one in lane["tokens"][:recorded]] == [
            one["differs"] for one in complete["tokens"][:recorded]
        ]
        assert not any(one["differs"] or one["ghosts"] for one in lane["tokens"][recorded:])
        assert all(one.keys() == complete["tokens"][0].keys() - {"stops"} for one in lane["tokens"][recorded:])


def test_another_setting_marks_what_would_change_and_dims_what_follows(forked):
    differ = [s.index for s in forked.lane_steps(1) if s.choices[0].id != s.choices[1].id]
    base, dola = (lane["tokens"] for lane in token_strips(inspecting(forked, alpha=1.0))["lanes"])
    assert [i for i, t in enumerate(dola) if t["changed"]] == differ
    assert [i for i, t in enumerate(dola) if t["dim"]] == list(range(differ[0] + 1, len(dola)))
    assert not any(t["changed"] or t["dim"] or t["differs"] for t in base), "at α = 1 both agree on any text"
    for index in differ:
        assert dola[index]["again"] == token(forked, forked.lane_steps(1)[index].choices[0].id)
        assert "with j* = 12, α = 1 it would say" in dola[index]["hint"]


def test_the_settings_of_the_run_change_nothing(forked):
    for lane in token_strips(inspecting(forked))["lanes"]:
        assert not any(t["changed"] or t["dim"] or t["again"] for t in lane["tokens"])


def test_ghosts_follow_the_settings(forked):
    inspection = inspecting(forked, layer=25, alpha=0.2)
    for step, shown in zip(forked.lane_steps(0), token_strips(inspection)["lanes"][0]["tokens"], strict=True):
        if step.exact_alpha <= 0.2:
            dola = step.what_if(DolaStatic(layer=25, alpha=0.2), forked.decoding)
            assert shown["differs"] == (dola != step.choices[0].id)
            assert not shown["differs"] or shown["ghosts"][0]["text"] == token(forked, dola)


@pytest.mark.parametrize("overlay", ["probability", "entropy", "JSD"])
def test_overlays_tint_by_a_fixed_range_and_say_the_number(forked, overlay):
    for number, lane in enumerate(token_strips(inspecting(forked, overlay=overlay))["lanes"]):
        levels = [t["level"] for t in lane["tokens"]]
        assert all(0 <= level <= 1 for level in levels)
        assert len(set(levels)) > 1
        assert all(overlay in t["hint"] for t in lane["tokens"])
        if overlay == "probability":  # dark is decided, as in the heatmaps
            by_p = sorted(zip([s.choices[number].p for s in forked.lane_steps(number)], levels, strict=True))
            assert [level for _, level in by_p] == sorted(levels)
        if overlay == "entropy":
            by_entropy = sorted(
                zip([s.choices[number].entropy for s in forked.lane_steps(number)], levels, strict=True)
            )
            assert [level for _, level in by_entropy] == sorted(levels, reverse=True)
    assert not any(t["level"] for lane in token_strips(inspecting(forked))["lanes"] for t in lane["tokens"])


@pytest.mark.parametrize("prompt", ["مرحبا", "日本の首都は", "😀👍🏽é", "naïve"])
def test_characters_of_several_tokens_are_shown_whole(compared, prompt):
    trace = compared(prompt)
    shown = [piece["text"] for piece in token_strips(inspecting(trace))["prompt"][1:]]
    assert "".join(shown).replace("…", "") == prompt
    assert len(shown) == len(trace.prompt_ids) - 1
    assert "\ufffd" not in "".join(shown)


def test_what_differs_is_what_is_underlined_with_a_shared_row_counted_once(forked):
    inspection = inspecting(forked)
    drawn = token_strips(inspection)
    underlined = {
        (number, index) for number, lane in enumerate(drawn["lanes"]) for index, t in enumerate(lane["tokens"])
        if t["differs"]
    }  # fmt: skip
    shared = {(1, index) for index in range(forked.fork + 1)}
    assert set(map(tuple, drawn["differences"])) == underlined - shared
    assert len(underlined & shared) == 1, "only the choice at which they part differs on the common text"


def test_a_long_prompt_is_folded_to_a_chip_and_a_short_one_is_read(forked, compared):
    assert token_strips(inspecting(forked))["chip"] == ""
    long = compared("The capital of Australia is Canberra. " * 6)
    assert token_strips(inspecting(long))["chip"] == f"⟨prompt, {len(long.prompt_ids)} tokens⟩"
