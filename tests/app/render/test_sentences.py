import math

from app.render.sentences import difference_sentence, step_sentence
from app.render.token_text import token
from tests.app.looking import inspecting


def said(parts):
    return "".join(part["text"] for part in parts)


def test_the_sentence_names_both_tokens_with_their_probability(forked):
    inspection = inspecting(forked)
    parts = step_sentence(inspection)
    choices = inspection.step.choices
    voices = {part["side"]: part["text"] for part in parts if part["side"]}
    assert voices == {"base": token(forked, choices[0].id), "dola": token(forked, choices[1].id)}
    assert said(parts).startswith(f"Step {forked.fork + 1}. Baseline chooses ")
    assert "What if" not in said(parts)


def test_a_head_of_one_token_is_explained(compared):
    trace = compared(alpha=1.0)
    assert "must choose it" in said(step_sentence(inspecting(trace)))


def test_another_setting_is_said_to_be_a_what_if(forked):
    step = inspecting(forked).step
    alpha = max(0.5, math.ceil(step.exact_alpha * 100) / 100)
    assert f"What if: with j* = 5, α = {alpha:g}" in said(step_sentence(inspecting(forked, layer=5, alpha=alpha)))


def test_a_beam_that_goes_on_with_another_token_is_said_to(compared):
    trace = compared("The capital of Japan is", decoding={"num_beams": 4, "max_new_tokens": 8})
    step = trace.lane_steps(1)[0]
    other = next(int(t) for t in step.tokens if t != step.choices[1].id)
    beam = step.model_copy(update={"lanes": (1,), "taken": (other,)})
    trace = trace.model_copy(update={"steps": (beam,)})
    sentence = said(step_sentence(inspecting(trace, 0)))
    assert f"DoLa-static's beam goes on with {token(trace, other)}." in sentence
    assert "Baseline alone would choose" in sentence


def test_the_count_of_differences_is_that_of_the_dola_text(forked):
    steps = forked.lane_steps(1)
    different = sum(s.choices[0].id != s.choices[1].id for s in steps)
    sentence = difference_sentence(inspecting(forked))
    assert sentence.startswith(f"{different} of {len(steps)} ")
    assert sentence.endswith(f"the first at step {forked.fork + 1}.")


def test_alpha_one_never_differs(compared):
    trace = compared(alpha=1.0)
    assert difference_sentence(inspecting(trace)).startswith("None of")


def test_another_setting_says_how_many_choices_it_would_change(forked):
    agreeing = difference_sentence(inspecting(forked, alpha=1.0))
    steps = forked.lane_steps(1)
    differ = [s.index for s in steps if s.choices[0].id != s.choices[1].id]
    assert agreeing.startswith(f"None of {len(steps)} choices differs. With j* = 12, α = 1 {len(differ)} choice")
    assert f"the first at step {differ[0] + 1}" in agreeing
