"""A plain screen only ever adds; a live one shows both lanes while they grow and leaves the same text."""

import pytest
from rich.cells import cell_len
from rich.text import Text

from dola_core.cli.live_screen import LiveScreen, fit, fold, lane_text
from dola_core.cli.render import STYLES
from dola_core.cli.screen import PlainScreen
from dola_core.cli.texts import LaneTexts
from dola_core.decoding.lockstep import StepOutput
from tests.dola_core.cli.comparisons import NAMES, PROMPT, outputs, texts_of_pieces, without_marks
from tests.dola_core.cli.terminal import SGR, FakeTerminal, displayed

HARD = {
    0: " wörd", 1: "日本語", 2: " e\u0301\u0301", 3: "\n", 4: "\n\n", 5: "\tx", 6: "👩\u200d🔬",
    7: "\u202e\x1b[2J\r\x08", 8: " [bold red]x[/]", 9: ":smile:", 10: "क\u094dष", 11: "\u0301", 12: "❤\ufe0f",
    13: " " * 9, 14: "\u200d", 15: "</s>", 16: "https://a.b/?c=1.5", 17: "[/]",
}  # fmt: skip
"""Tokens that a terminal, a row that is too narrow, or rich's markup could go wrong on."""


def hard_outputs() -> list[StepOutput]:
    """A shared text, then two lanes of all those tokens in different order; the baseline's is shorter."""
    steps = [StepOutput(0, {0: 6, 1: 6}, {}, ())]
    for index in range(1, 3 * len(HARD)):
        tokens = {0: (5 * index) % len(HARD), 1: (7 * index + 3) % len(HARD)}
        if index > 2 * len(HARD):
            del tokens[0]
        steps.append(StepOutput(index, tokens, {0: "eos"} if index == 2 * len(HARD) else {}, ()))
    return steps


@pytest.fixture
def live(monkeypatch):
    """A function that makes a live screen that draws at every step, on a terminal of the given size."""

    def make(columns: int, lines: int) -> tuple[LiveScreen, FakeTerminal]:
        monkeypatch.setattr("dola_core.cli.live_screen.INTERVAL", 0)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        terminal = FakeTerminal(columns, lines)
        return LiveScreen(terminal.write, NAMES), terminal

    return make


def finished(texts: LaneTexts) -> str:
    """What a plain screen writes of `texts`, without brackets."""
    written: list[str] = []
    PlainScreen(written.append, NAMES).finish(texts)
    return without_marks("".join(written))


class TestPlainScreen:
    def test_every_token_is_written_when_it_is_there_and_nothing_is_taken_back(self, loaded, trace):
        written: list[str] = []
        screen, texts = PlainScreen(written.append, NAMES), LaneTexts(PROMPT, loaded.text, loaded.piece)
        shared = loaded.text(trace.lane_ids(0)[: trace.fork])
        for number, output in enumerate(outputs(loaded, PROMPT)):
            texts.add(output)
            screen.show(texts)
            own = loaded.text(trace.lane_ids(int(number > trace.fork))[: number + 1])[len(shared) :]
            assert own in without_marks("".join(written).replace("</s>", ""))
            assert len(written) == number + 1
        screen.finish(texts)
        assert without_marks("".join(written)) == finished(texts)

    def test_the_second_lane_follows_once_the_first_has_ended(self):
        texts = texts_of_pieces({i: chr(96 + i) for i in range(1, 6)})
        texts.add(StepOutput(0, {0: 1, 1: 2}, {}, ()))
        texts.add(StepOutput(1, {0: 3, 1: 4}, {1: "eos"}, ()))
        written: list[str] = []
        screen = PlainScreen(written.append, NAMES)
        screen.show(texts)
        assert written == ["p\n── the texts part at step 1 ──\n● Baseline\nac"]
        texts.add(StepOutput(2, {0: 5}, {0: "a new reason"}, ()))
        screen.finish(texts)
        assert written[1:] == ["e\n3 tokens: a new reason\n◆ DoLa-static\nbd\n2 tokens: end of text (d)\n"]

    def test_a_character_of_several_tokens_comes_out_whole(self):
        halves = "é".encode()
        texts = LaneTexts("p", lambda ids: bytes(halves[i] for i in ids).decode(errors="replace"), str)
        written: list[str] = []
        screen = PlainScreen(written.append, NAMES)
        for index in (0, 1, 0):
            texts.add(StepOutput(index, {0: index, 1: index}, {}, ()))
            screen.show(texts)
        assert written == ["p", "é"]
        texts.stop()
        screen.finish(texts)
        assert written[2:] == ["\ufffd\nBoth wrote the same 3 tokens: stopped by you.\n"]

    def test_markup_in_model_text_is_printed_literally(self):
        texts = texts_of_pieces({0: "[bold red]x[/]", 1: ":smile:"}, prompt="[/]")
        for index in (0, 1):
            texts.add(StepOutput(index, {0: index, 1: index}, {}, ()))
        assert finished(texts).startswith("[/][bold red]x[/]:smile:")


class TestLiveScreen:
    def test_both_lanes_grow_and_at_the_end_the_plain_text_stands_there(self, loaded, live):
        screen, terminal = live(40, 12)
        texts, shown = LaneTexts(PROMPT, loaded.text, loaded.piece), []
        for output in outputs(loaded, PROMPT):
            texts.add(output)
            screen.show(texts)
            assert ("◆ DoLa-static" in terminal.text) is (texts.fork is not None)
            assert terminal.text.count("● Baseline") <= 1
            shown.append(terminal.text)
        assert len(set(shown)) == len(shown)
        screen.finish(texts)
        assert terminal.text == displayed(finished(texts), 40)

    @pytest.mark.parametrize("columns", [2, 7, 20, 80])
    @pytest.mark.parametrize("lines", [3, 5, 9, 24])
    def test_no_text_and_no_narrow_terminal_corrupts_it(self, live, columns, lines):
        screen, terminal = live(columns, lines)
        texts = texts_of_pieces(HARD, prompt="日本 p")
        above = ""
        for output in hard_outputs():
            texts.add(output)
            screen.show(texts)
            if texts.fork is None:
                continue
            above = above or terminal.text.split("●")[0]
            assert terminal.text.startswith(f"{above}●")
            assert terminal.text.count("●") == terminal.text.count("◆") == 1
            assert len(terminal.text[len(above) :].splitlines()) <= max(lines - 1, 2)
            assert (terminal.wraps, terminal.cursor) == (True, True)
        texts.stop()
        screen.finish(texts)
        assert terminal.text == displayed(finished(texts), columns)

    def test_markup_in_model_text_is_drawn_literally_and_in_the_styles_of_the_lanes_alone(self, live):
        screen, terminal = live(80, 24)
        written: list[str] = []
        screen.write = lambda text: (written.append(text), terminal.write(text))
        texts = texts_of_pieces(HARD)
        texts.add(StepOutput(0, {0: 8, 1: 9}, {}, ()))
        texts.add(StepOutput(1, {0: 16, 1: 17}, {}, ()))
        screen.show(texts)
        assert "● Baseline\n [bold red]x[/]https://a.b/?c=1.5\n◆ DoLa-static\n:smile:[/]" in terminal.text
        assert set(SGR.findall("".join(written))) <= {
            f"\x1b[{code}m" for code in ("0", "1", "2", "1;38;5;33", "1;38;5;166", "1;4;38;5;33", "1;4;38;5;166")
        }

    def test_an_error_leaves_the_picture_and_begins_a_new_line(self, live):
        screen, terminal = live(40, 12)
        texts = texts_of_pieces(HARD)
        texts.add(StepOutput(0, {0: 0, 1: 9}, {}, ()))
        screen.show(texts)
        screen.abandon()
        terminal.write("message")
        assert terminal.text.endswith("● Baseline\n wörd\n◆ DoLa-static\n:smile:\nmessage")

    def test_before_the_fork_an_error_begins_a_new_line(self, live):
        screen, terminal = live(40, 12)
        screen.show(texts_of_pieces(HARD))
        screen.abandon()
        terminal.write("message")
        assert terminal.text == "p\nmessage"

    def test_pictures_are_drawn_no_more_often_than_a_reader_sees(self, live, monkeypatch):
        screen, terminal = live(40, 12)
        monkeypatch.setattr("dola_core.cli.live_screen.INTERVAL", 60)
        texts = texts_of_pieces(HARD)
        texts.add(StepOutput(0, {0: 0, 1: 9}, {}, ()))
        screen.show(texts)
        before = terminal.text
        texts.add(StepOutput(1, {0: 0, 1: 9}, {}, ()))
        screen.show(texts)
        assert terminal.text == before
        assert ":smile:" in before


class TestRows:
    @pytest.mark.parametrize("columns", [7, 20, 80])
    @pytest.mark.parametrize("lines", [2, 5, 9, 24])
    def test_they_fit_the_screen_and_keep_names_and_ends(self, columns, lines):
        texts = LaneTexts("p", lambda ids: "".join(f" wör{i}" for i in ids), str)
        for index in range(40):
            texts.add(StepOutput(index, {0: index, 1: index + 1}, {}, ()))
        rows = [row.plain for row in fit([lane_text(texts, lane, ("Base", "DoLa")) for lane in (0, 1)], columns, lines)]
        assert len(rows) <= max(lines - 1, 2)
        assert max(map(cell_len, rows)) <= columns
        assert [row for row in rows if row[:1] in tuple("●◆")] == ["● Base", "◆ DoLa"]
        if lines >= 5:
            assert rows[-1].endswith("40")

    @pytest.mark.parametrize(
        ("text", "width", "rows"),
        [
            ("日本語ab", 4, ["日本", "語ab"]),
            ("日本", 3, ["日", "本"]),
            ("e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301"]),
            ("ab\n\ncd\n", 4, ["ab", "", "cd"]),
            ("a word", 3, ["a w", "ord"]),
            ("\u0301", 3, ["\u0301"]),
        ],
    )
    def test_they_are_as_wide_as_their_characters(self, text, width, rows):
        assert [row.plain for row in fold(Text(text), width)] == rows

    def test_a_style_goes_on_in_the_next_row(self):
        rows = fold(Text.assemble(("abc", STYLES["quiet"]), "d"), 2)
        assert [(row.plain, [(span.start, span.end) for span in row.spans]) for row in rows] == [
            ("ab", [(0, 2)]), ("cd", [(0, 1)]),
        ]  # fmt: skip
