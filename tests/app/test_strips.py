import pytest

from app.strips import difference_sentence, strips
from app.words import running_text


def test_the_strips_hold_every_token_of_both_lanes(forked):
    drawn = strips(forked, lane=1, index=0)
    for number, lane in enumerate(drawn["lanes"]):
        assert len(lane["tokens"]) == len(forked.lane_ids(number))
    assert len(drawn["prompt"]) == len(forked.prompt_ids)
    assert drawn["fork"] == forked.fork


def test_lanes_are_alike_up_to_the_fork_and_differ_at_it(forked):
    a, b = (lane["tokens"] for lane in strips(forked, lane=1, index=0)["lanes"])
    assert [t["text"] for t in a[: forked.fork]] == [t["text"] for t in b[: forked.fork]]
    assert forked.lane_ids(0)[forked.fork] != forked.lane_ids(1)[forked.fork]
    assert a[forked.fork]["differs"]
    assert b[forked.fork]["differs"]


def test_a_ghost_at_the_fork_is_the_other_lanes_token(forked):
    a, b = (lane["tokens"][forked.fork] for lane in strips(forked, lane=1, index=0)["lanes"])
    assert a["ghost"] == {"side": "dola", "text": b["text"]}
    assert b["ghost"] == {"side": "base", "text": a["text"]}


def test_every_lane_says_why_it_ended(forked):
    assert all(lane["end"] for lane in strips(forked, lane=1, index=0)["lanes"])


def test_a_running_lane_has_a_caret_and_no_end(forked):
    running = forked.model_copy(update={"ends": (None, "eos")})
    a, b = strips(running, lane=1, index=0, running=True)["lanes"]
    assert (a["running"], a["end"]) == (True, None)
    assert (b["running"], b["end"]) == (False, "end of text")


def test_the_count_of_differences_is_that_of_the_dola_text(forked):
    steps = forked.lane_steps(1)
    different = sum(s.choices[0].id != s.choices[1].id for s in steps)
    assert difference_sentence(forked).startswith(f"{different} of {len(steps)} ")
    assert difference_sentence(forked).endswith(f"the first at step {forked.fork + 1}.")


def test_alpha_one_never_differs(compared):
    assert difference_sentence(compared(alpha=1.0)).startswith("None of")


@pytest.mark.parametrize("prompt", ["مرحبا", "日本の首都は", "😀👍🏽é", "naïve"])
def test_characters_of_several_tokens_are_shown_whole(compared, prompt):
    shown = [piece["text"] for piece in strips(compared(prompt), lane=1, index=0)["prompt"][1:]]
    assert "".join(shown).replace("…", "") == prompt
    assert len(shown) == len(compared(prompt).prompt_ids) - 1
    assert "\ufffd" not in "".join(shown)


def test_bytes_that_are_no_character_are_shown_as_bytes(forked):
    broken = dict.fromkeys(forked.pieces, "<0xFF>")
    assert running_text(forked.model_copy(update={"pieces": broken}), list(broken)[:2]) == ["<0xFF>", "<0xFF>"]
