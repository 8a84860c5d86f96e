"""What is printed for which texts, in both forms, and that no text is ever obeyed."""

from dola_core.cli.render import coloured, differences, heading, own_text, plain, shared_text, token_label, visible
from dola_core.decoding.lockstep import StepOutput
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from tests.dola_core.cli.comparisons import NAMES, texts_of_pieces
from tests.dola_core.cli.terminal import SGR


def test_the_heading_names_the_settings():
    config = DecodingConfig(
        temperature=0.7, top_k=40, top_p=0.9, min_p=0.05, seed=3, repetition_penalty=1.2, penalty_position="after",
        early_norm=False,
    )  # fmt: skip
    assert plain(heading("a model", (Baseline(), DolaStatic(layer=7, alpha=0.2)), config)) == (
        "a model\nj* = 7, read without the final norm · α = 0.2 · temperature 0.7 · top-k 40 · top-p 0.9 · "
        "min-p 0.05 · seed 3 · repetition penalty 1.2 after the contrast · at most 48 tokens\n\n"
    )


def test_a_long_list_of_differences_is_cut_and_ends_with_how_many_are_missing(trace, monkeypatch):
    differing = [step for step in trace.lane_steps(1) if step.choices[0].id != step.choices[1].id]
    monkeypatch.setattr("dola_core.cli.render.MAX_LISTED", 3)
    lines = plain(differences(trace, NAMES)).strip().splitlines()
    assert len(lines) == 1 + 1 + 3 + 1
    assert lines[-1] == f"… and {len(differing) - 3} more, which a trace has (--trace FILE)"


def test_the_columns_of_the_table_are_aligned_by_the_cells_of_their_tokens(trace):
    step = next(step for step in trace.lane_steps(1) if step.choices[0].id != step.choices[1].id)
    base, dola = (choice.id for choice in step.choices)
    wide = trace.model_copy(update={"steps": (step,), "pieces": {base: "e\u0301", dola: "日本語日本語"}})
    _, header, line = plain(differences(wide, NAMES)).strip().splitlines()
    start = header.index("p_hat")
    assert header == "step  DoLa-static   p_hat  Baseline  q_N"
    assert line.index("0.") == start - 6  # six characters take twelve cells
    assert line.index(" 0.30") == header.index("q_N") - 6  # and an accent none
    assert SGR.sub("", coloured(differences(wide, NAMES))) == plain(differences(wide, NAMES))


def test_white_space_on_which_the_decoders_disagree_can_be_seen(trace):
    texts = texts_of_pieces({0: "\n", 1: " ", 2: " x\n", 3: "\x1b[2J", 4: "</s>"})
    step = trace.steps[trace.fork].model_copy(update={"lanes": (1,)})
    assert step.choices[0].id != step.choices[1].id
    for index in range(5):
        texts.add(StepOutput(index, {0: 4, 1: index}, {}, (step,)))
    assert plain(own_text(texts, 1, NAMES)) == "◆ DoLa-static\n⟦⏎⟧\n⟦␣⟧ ⟦x⟧\n⟦\\x1b[2J⟧⟦</s>⟧"


def test_a_token_without_text_is_shown_as_the_empty_set():
    assert token_label("") == "∅"
    assert token_label(" a\t\u00a0\r\n") == "␣a⇥⍽␍⏎"


def test_visible_text_obeys_nothing():
    for number in (*range(0x110), 0x200E, 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xD800, 0xE0041):
        c = chr(number)
        assert visible(c).isprintable() or c in "\n\t\xa0"
        assert visible(c) == c or visible(c).startswith("\\")
    assert visible("Brasília 日本\tन\u200d👩\u200d🔬\n") == "Brasília 日本\tन\u200d👩\u200d🔬\n"


def test_in_colour_the_same_characters_stand_between_the_codes_of_their_styles(trace):
    texts = texts_of_pieces({0: " [bold red]x[/]", 1: " :smile:", 2: " https://a.b/?c=1.5", 3: " [/]", 4: "\\[x]"})
    step = trace.steps[trace.fork].model_copy(update={"lanes": (1,)})
    for index in range(5):
        texts.add(StepOutput(index, {0: 4 - index, 1: index}, {}, (step,) if index == 1 else ()))
    for block in (shared_text(texts), own_text(texts, 0, NAMES), own_text(texts, 1, NAMES)):
        assert SGR.sub("", coloured(block)) == plain(block).replace("⟦", "").replace("⟧", "")
    assert plain(own_text(texts, 1, NAMES)).endswith("\n [bold red]x[/] ⟦:smile:⟧ https://a.b/?c=1.5 [/]\\[x]")
    assert coloured(own_text(texts, 1, NAMES)) == (
        "\x1b[1;38;5;166m◆ DoLa-static\x1b[0m\n [bold red]x[/] \x1b[1;4;38;5;166m:smile:\x1b[0m https://a.b/?c=1.5 "
        "[/]\\[x]"
    )
