"""The comparison in a terminal: what it prints is what `compare` says, and every mistake ends in one sentence."""

import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dola_core.cli import compare as command
from dola_core.cli.render import (
    Live,
    Stream,
    Texts,
    coloured,
    differences,
    frame,
    heading,
    own_text,
    plain,
    rows,
    token,
    visible,
    width_of,
)
from dola_core.decoding import lockstep as decoding
from dola_core.decoding.lockstep import Advance, compare
from dola_core.lanes import Decoding, Lane
from dola_core.models import loading as models
from dola_core.models.loading import load_model
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

ROOT = Path(__file__).resolve().parents[3]
PROMPT = "The capital of Australia is"
ASKED = ("--layer", "22", "--alpha", "0.1")
QUIET = ("--device", "cpu", "--dtype", "float32")
SAME = "Question: What is the capital of Kenya? Answer:"


@pytest.fixture(scope="module")
def loaded():
    return load_model(device="cpu", dtype="float32")


@pytest.fixture
def quick(loaded, monkeypatch):
    """The command finds the shipped model loaded."""
    monkeypatch.setattr(models, "load_model", lambda *_, **__: loaded)


def traced(loaded, prompt=PROMPT, layer=22, alpha=0.1, **asked) -> Trace:
    lanes, how = [Lane(name="Baseline"), Lane(name="DoLa-static", layer=layer, alpha=alpha)], Decoding(**asked)
    ids = loaded.encode(prompt)
    recorder = Recorder(loaded.info, prompt, ids, lanes, how)
    for step in compare(loaded.readout, ids, lanes, how, eos_ids=loaded.eos_ids, text_of=loaded.text):
        recorder.add(step.tokens, step.ends, step.steps)
    return recorder.trace(loaded.piece, loaded.text)


@pytest.fixture(scope="module")
def trace(loaded):
    trace = traced(loaded)
    assert 0 < trace.fork < len(trace.lane_ids(1)) - 5  # else the tests below would say little
    return trace


def differing(trace: Trace, lane: int) -> list[str]:
    """The tokens of a lane's text on which the decoders disagree, as a text has them."""
    steps = [step for step in trace.lane_steps(lane) if step.choices[0].id != step.choices[1].id]
    return [trace.pieces[step.choices[lane].id].strip() for step in steps]


def blocks(out: str) -> list[str]:
    """The output at its seams: before the fork, the baseline's own text, DoLa's, and the summary."""
    found = re.fullmatch(
        r"(.*)── the texts part at step \d+ ──\n● Baseline\n(.*)◆ DoLa-static\n(.*?)\n\n(.*)", out, re.S
    )
    return list(found.groups())


class TestOutput:
    def test_the_shared_text_stands_once_and_then_each_lane_has_its_own(self, quick, trace, loaded, capsys):
        assert command.main([PROMPT, *ASKED]) == 0
        before, base, dola, _ = blocks(capsys.readouterr().out)
        shared = loaded.text(trace.lane_ids(0)[: trace.fork])
        assert before.split("\n\n")[1] == f"{PROMPT}{shared}\n"
        for lane, block in enumerate((base, dola)):
            text, end = re.sub("⟦</s>⟧|[⟦⟧]", "", block).strip("\n").rsplit("\n", 1) if lane else ("", "")
            assert text == trace.texts[lane][len(shared) :]
            assert not lane or end == f"{len(trace.lane_ids(lane))} tokens: end of text"
        assert base.endswith("3 tokens: end of text\n")

    def test_the_marked_tokens_are_those_that_the_decoders_disagree_on(self, quick, trace, capsys):
        command.main([PROMPT, *ASKED])
        before, base, dola, _ = blocks(capsys.readouterr().out)
        assert "⟦" not in before
        assert re.findall("⟦(.*?)⟧", base) == differing(trace, 0) == ["</s>"]
        assert re.findall("⟦(.*?)⟧", dola) == differing(trace, 1)

    def test_the_differing_choices_are_counted_and_listed(self, quick, trace, capsys):
        command.main([PROMPT, *ASKED])
        said, _, *table = blocks(capsys.readouterr().out)[3].splitlines()
        steps = [step for step in trace.lane_steps(1) if step.choices[0].id != step.choices[1].id]
        many, first = len(trace.lane_ids(1)), steps[0].index + 1
        assert said == f"On the text of DoLa-static, {len(steps)} of {many} choices differ, the first at step {first}:"
        assert [line.split() for line in table] == [
            [str(step.index + 1), token(trace.pieces[dola.id]), f"{dola.p:.2f}", token(trace.pieces[base.id]),
             f"{base.p:.2f}"]
            for step in steps for base, dola in [step.choices]
        ]  # fmt: skip

    def test_a_long_list_is_cut_and_says_so(self, loaded, trace, monkeypatch):
        monkeypatch.setattr("dola_core.cli.render.LISTED", 3)
        said = differences(trace, plain).splitlines()
        assert len(said) == 1 + 2 + 3 + 1
        assert said[-1] == f"… and {len(differing(trace, 1)) - 3} more, which a trace has (--trace FILE)"

    def test_texts_that_never_part_stand_once(self, quick, loaded, capsys):
        assert command.main([SAME, *ASKED]) == 0
        same, out = traced(loaded, SAME), capsys.readouterr().out
        assert same.fork is None
        body = f"{SAME}{same.texts[0]}\nBoth wrote the same 3 tokens: end of text.\n\nNone of 3 choices differs.\n"
        assert out.endswith(f"tokens\n\n{body}")

    def test_each_lane_says_why_it_ended(self, quick, capsys):
        command.main([PROMPT, *ASKED, "--stop", "Australia", "--stop", "zzz"])
        assert "\n3 tokens: stop string\n" in capsys.readouterr().out
        command.main([PROMPT, *ASKED, "--max-new-tokens", "9"])
        out = capsys.readouterr().out
        assert "\n3 tokens: end of text\n" in out
        assert "\n9 tokens: length limit\n" in out
        command.main([PROMPT, *ASKED, "--max-new-tokens", "1"])
        assert "Both wrote the same 1 token: length limit.\n\nNone of 1 choice differs." in capsys.readouterr().out

    def test_layer_and_alpha_are_by_default_those_recorded_with_the_model(self, quick, loaded, capsys):
        command.main([SAME])
        assert f"j* = {loaded.preset.layer} · α = {loaded.preset.alpha:g} · greedy" in capsys.readouterr().out

    def test_the_heading_names_what_was_asked_for(self):
        asked = Decoding(
            temperature=0.7, top_k=40, top_p=0.9, seed=3, repetition_penalty=1.2, penalty_position="after",
            early_norm=False,
        )  # fmt: skip
        assert heading("a model", Lane(name="", layer=7, alpha=0.2), asked, plain) == (
            "a model\nj* = 7, read without the final norm · α = 0.2 · temperature 0.7 · top-k 40 · top-p 0.9 · "
            "seed 3 · repetition penalty 1.2 after the contrast · at most 48 tokens\n\n"
        )

    def test_a_prompt_from_standard_input_is_the_same_without_its_last_line_break(self, quick, monkeypatch, capsys):
        command.main([PROMPT, *ASKED])
        asked = capsys.readouterr().out
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PROMPT}\n"))
        assert command.main(["-", *ASKED]) == 0
        assert capsys.readouterr().out == asked

    def test_the_readme_shows_what_it_prints(self, quick, capsys):
        section = (ROOT / "README.md").read_text(encoding="utf-8").split("## In the terminal\n")[1].split("\n## ")[0]
        asked, shown = re.findall("```(?:sh)?\n(.*?)```", section, re.S)
        assert asked.startswith(f'python -m dola_core "{PROMPT}" {" ".join(ASKED)}')
        command.main([PROMPT, *ASKED])
        assert shown.removesuffix("…\n") in capsys.readouterr().out

    def test_what_a_terminal_would_obey_is_spelled_out(self, quick, capsys):
        assert command.main(["Red \x1b[31m\x9b2J\x07 \u202ecapital of Chile is", "--max-new-tokens", "3"]) == 0
        out = capsys.readouterr().out
        assert "Red \\x1b[31m\\x9b2J\\x07 \\u202ecapital of Chile is" in out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)


class TestTrace:
    def test_it_is_what_compare_records_with_the_same_settings(self, quick, loaded, tmp_path, capsys):
        file = tmp_path / "out.json"
        more = {
            "max_new_tokens": 12, "temperature": 0.8, "top_k": 20, "top_p": 0.9, "seed": 5, "repetition_penalty": 1.3,
            "penalty_position": "after", "stop": (".",),
        }  # fmt: skip
        options = [f"--{name.replace('_', '-')}={value}" for name, value in more.items() if name != "stop"]
        arguments = [PROMPT, "--layer=9", "--alpha=0.3", "--raw-early", "--stop=.", f"--trace={file}", *options]
        assert command.main(arguments) == 0
        assert file.read_text() == traced(loaded, layer=9, alpha=0.3, early_norm=False, **more).to_json()
        assert capsys.readouterr().out.endswith(f"\nThe trace is in {file}.\n")
        assert list(tmp_path.iterdir()) == [file]

    def test_a_prompt_that_is_not_well_formed_can_be_written(self, quick, tmp_path):
        file = tmp_path / "out.json"
        assert command.main(["caf\udce9 is", "--max-new-tokens", "2", "--trace", str(file)]) == 0
        assert Trace.model_validate_json(file.read_text()).prompt == "caf? is"

    def test_a_link_goes_on_pointing_where_it_does(self, quick, tmp_path):
        (tmp_path / "real.json").write_text("old")
        (tmp_path / "link.json").symlink_to("real.json")
        assert command.main([SAME, "--trace", str(tmp_path / "link.json")]) == 0
        assert (tmp_path / "link.json").is_symlink()
        assert Trace.model_validate_json((tmp_path / "real.json").read_text()).prompt == SAME

    def test_a_device_is_written_to_and_not_replaced(self, quick, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDWR)
        try:
            assert command.main([SAME, "--max-new-tokens=1", "--trace", str(tmp_path / "pipe")]) == 0
            assert json.loads(os.read(reader, 1 << 20))["prompt"] == SAME
        finally:
            os.close(reader)

    def test_a_disk_that_is_full_leaves_the_former_file_whole(self, quick, tmp_path, monkeypatch, capsys):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        file = tmp_path / "out.json"
        file.write_text("old")
        monkeypatch.setattr(Path, "replace", full)
        assert command.main([SAME, "--trace", str(file)]) == 1
        said = capsys.readouterr()
        assert said.err == f"python -m dola_core: the trace cannot be written to {file}: No space left on device.\n"
        assert "Both wrote the same" in said.out
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]


def refused(arguments: list[str], capsys) -> tuple[int, str]:
    """The status and the only line of what a mistake ends in."""
    try:
        status = command.main(arguments)
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("python -m dola_core: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith(".\n")
    return status, said.err


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "required: prompt"),
            ([""], "The prompt is empty"),
            ([" \n"], "The prompt is empty"),
            (["word " * 600], "the model reads at most 512"),
            (["word " * 50_000], "250,000 characters"),
            ([PROMPT, "--layer", "0"], "layer must be an integer from 1 to 29"),
            ([PROMPT, "--layer", "30"], "got 30"),
            ([PROMPT, "--layer", "ten"], "argument --layer: invalid int value: 'ten'"),
            ([PROMPT, "--alpha", "2"], "alpha must be a number from 0 to 1; got 2.0"),
            ([PROMPT, "--alpha", "nan"], "alpha must be a number from 0 to 1"),
            ([PROMPT, "--max-new-tokens", "0"], "--max-new-tokens: Input should be greater than or equal to 1 (got 0)"),
            ([PROMPT, "--top-p", "0"], "--top-p: "),
            ([PROMPT, "--temperature", "-1"], "--temperature: "),
            ([PROMPT, "--seed", "-1"], "--seed: "),
            ([PROMPT, "--stop", ""], "--stop: "),
            ([PROMPT, "--penalty-position", "between"], "argument --penalty-position: invalid choice: 'between'"),
            ([PROMPT, "--dtype", "int3"], "argument --dtype"),
            ([PROMPT, "--chat"], "no chat template"),
            ([PROMPT, "--\x1b[31m"], "unrecognized arguments: --\\x1b[31m"),
            ([PROMPT, "--trace", "."], "the trace cannot be written to .: it is a folder"),
            ([PROMPT, "--trace", "/no/such/out.json"], "there is no folder /no/such"),
            ([PROMPT, "--trace", f"{'x' * 300}.json"], "File name too long"),
        ],
    )
    def test_what_cannot_be_asked_for_is_refused_in_a_sentence(self, quick, arguments, says, capsys):
        status, said = refused(arguments, capsys)
        assert status == 2
        assert says in said

    def test_a_model_that_cannot_be_loaded_is_named(self, tmp_path, capsys):
        status, said = refused([PROMPT, "--model", str(tmp_path)], capsys)
        assert (status, said) == (
            1,
            f"python -m dola_core: The folder {tmp_path} holds no model: it has no config.json.\n",
        )
        status, said = refused([PROMPT, "--device", "abacus"], capsys)
        assert status == 1
        assert "There is no device 'abacus' here" in said

    def test_standard_input_must_be_text(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
        assert refused(["-"], capsys) == (2, "python -m dola_core: standard input is not text in utf-8.\n")

    def test_memory_that_runs_out_ends_in_a_sentence(self, quick, monkeypatch, capsys):
        def large(*_, **__):
            raise MemoryError
            yield

        monkeypatch.setattr(decoding, "compare", large)
        assert command.main([PROMPT]) == 1
        said = capsys.readouterr()
        assert said.out.endswith(f"\n\n{PROMPT}\n")
        assert "memory ran out" in said.err

    def test_numbers_that_are_not_finite_end_both_lanes(self, quick, monkeypatch, tmp_path, capsys):
        def broken(*_, **__):
            yield Advance(0, {}, {0: "broken", 1: "broken"}, ())

        monkeypatch.setattr(decoding, "compare", broken)
        assert command.main([PROMPT, "--trace", str(tmp_path / "out.json")]) == 1
        said = capsys.readouterr()
        assert f"{PROMPT}\nNothing was written: numbers that are not finite.\n" in said.out
        assert said.err == "python -m dola_core: the model's numbers were no longer finite; --dtype float32 may help.\n"
        assert Trace.model_validate_json((tmp_path / "out.json").read_text()).ends == ("broken", "broken")


class TestInterruption:
    """Ctrl-C, pressed while a chosen step is worked out."""

    @pytest.fixture
    def press(self, monkeypatch):
        def during(steps: set[int], times: int = 1) -> None:
            def pressed(*args, **kwargs):
                for number, advance in enumerate(compare(*args, **kwargs)):
                    for _ in range(times if number in steps else 0):
                        signal.raise_signal(signal.SIGINT)
                    yield advance

            monkeypatch.setattr(decoding, "compare", pressed)

        return during

    def test_what_was_written_is_kept_with_its_trace(self, quick, press, loaded, trace, tmp_path, capsys):
        press({7})
        assert command.main([PROMPT, *ASKED, "--trace", str(tmp_path / "out.json")]) == 130
        said, kept = capsys.readouterr(), Trace.model_validate_json((tmp_path / "out.json").read_text())
        assert said.err == "python -m dola_core: interrupted; what was written until then is kept.\n"
        assert kept.lane_ids(1) == trace.lane_ids(1)[:8]
        assert kept.ends == ("eos", "stopped")
        assert kept.intact()
        assert "\n8 tokens: stopped by you\n" in said.out
        assert kept.texts[1][len(loaded.text(trace.lane_ids(0)[: trace.fork])) :] in re.sub("[⟦⟧]", "", said.out)

    def test_before_anything_is_written_it_ends_at_once(self, quick, press, tmp_path, capsys):
        press({0})
        assert command.main([PROMPT, "--trace", str(tmp_path / "out.json")]) == 130
        said = capsys.readouterr()
        assert said.err == "python -m dola_core: interrupted.\n"
        assert said.out.endswith(f"\n\n{PROMPT}\n")
        assert not list(tmp_path.iterdir())

    def test_pressed_twice_it_ends_at_once(self, quick, press, tmp_path, capsys):
        press({4}, times=2)
        assert command.main([PROMPT, *ASKED, "--trace", str(tmp_path / "out.json")]) == 130
        assert capsys.readouterr().err == "python -m dola_core: interrupted.\n"
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("made_of_it", [KeyboardInterrupt, ImportError, models.LoadError, None])
    def test_while_the_model_loads_whatever_a_library_makes_of_it(self, loaded, monkeypatch, capsys, made_of_it):
        def load(*_, **__):
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            if made_of_it:
                raise made_of_it
            return loaded

        monkeypatch.setattr(models, "load_model", load)
        assert command.main([PROMPT]) == 130
        assert capsys.readouterr() == ("", "python -m dola_core: interrupted.\n")

    def test_the_former_handler_is_back(self, quick):
        before = signal.getsignal(signal.SIGINT)
        command.main([SAME])
        assert signal.getsignal(signal.SIGINT) is before


def shown(screen: str, width: int) -> str:
    """What stands on a terminal after `screen` was written to it, scrolled-off rows included."""
    lines, row, column, wraps = [[]], 0, 0, True
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|.", screen, re.S):
        if part == "\n":
            row, column = row + 1, 0  # a terminal makes \r\n of it
            lines += [[]] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif re.fullmatch(r"\x1b\[\d+A", part):
            row -= int(part[2:-1])
            assert row >= 0
        elif part == "\x1b[J":
            del lines[row + 1 :], lines[row][column:]
        elif part == "\x1b[K":
            del lines[row][column:]
        elif part in ("\x1b[?7l", "\x1b[?7h"):
            wraps = part.endswith("h")
        elif part.startswith("\x1b"):
            assert part.endswith("m"), part
        elif not (column >= width and not wraps):
            lines[row][column : column + 1] = part
            column += 1
    return "\n".join("".join(line) for line in lines)


def steps_of(loaded, prompt: str = PROMPT) -> list[Advance]:
    lanes = [Lane(name="Baseline"), Lane(name="DoLa-static", layer=22)]
    return list(compare(loaded.readout, loaded.encode(prompt), lanes, Decoding(), eos_ids=loaded.eos_ids))


class TestScreens:
    def test_a_stream_writes_every_token_when_it_is_there_and_takes_nothing_back(self, loaded, trace):
        written: list[str] = []
        stream, texts = Stream(written.append, command.NAMES), Texts(PROMPT, loaded.text, loaded.piece)
        for number, advance in enumerate(steps_of(loaded)):
            texts.add(advance)
            stream.show(texts)
            lane = int(number > trace.fork)
            so_far = re.sub("⟦</s>⟧|[⟦⟧]", "", "".join(written))
            own = loaded.text(trace.lane_ids(lane)[: number + 1])[len(loaded.text(trace.lane_ids(0)[: trace.fork])) :]
            assert own in so_far
            assert len(written) == number + 1
        stream.finish(texts)
        whole: list[str] = []
        Stream(whole.append, command.NAMES).finish(texts)
        assert "".join(written) == "".join(whole)

    def test_a_live_screen_shows_both_lanes_grow_and_ends_as_the_stream_does(self, loaded, monkeypatch):
        monkeypatch.setattr("dola_core.cli.render.INTERVAL", 0)
        size = os.terminal_size((40, 12))
        written, streamed = [], []
        live, stream = Live(written.append, command.NAMES, lambda: size), Stream(streamed.append, command.NAMES)
        texts = Texts(PROMPT, loaded.text, loaded.piece)
        for advance in steps_of(loaded):
            texts.add(advance)
            live.show(texts)
            now = shown("".join(written), size.columns)
            assert ("◆ DoLa-static" in now) is (texts.fork is not None)
            assert now.count("● Baseline") <= 1
        live.finish(texts)
        stream.finish(texts)
        assert shown("".join(written), size.columns) == re.sub("[⟦⟧]", "", "".join(streamed))

    def test_the_same_while_one_lane_only_is_written_on(self):
        """A stream shows the baseline's text first; the lane after it follows once that has ended."""
        texts = Texts("p", lambda ids: "".join(chr(96 + i) for i in ids), str)
        texts.add(Advance(0, {0: 1, 1: 2}, {}, ()))
        texts.add(Advance(1, {0: 3, 1: 4}, {1: "eos"}, ()))
        written: list[str] = []
        stream = Stream(written.append, command.NAMES)
        stream.show(texts)
        assert "".join(written) == "p\n── the texts part at step 1 ──\n● Baseline\nac"
        texts.add(Advance(2, {0: 5}, {0: "a new reason"}, ()))
        stream.finish(texts)
        assert written[1] == "e\n3 tokens: a new reason\n◆ DoLa-static\nbd\n2 tokens: end of text\n"

    @pytest.mark.parametrize("columns", [7, 20, 80])
    @pytest.mark.parametrize("lines", [2, 5, 9, 24])
    def test_a_frame_fits_the_screen_and_keeps_names_and_ends(self, columns, lines):
        texts = Texts("p", lambda ids: "".join(f" wör{i}" for i in ids), str)
        for index in range(40):
            texts.add(Advance(index, {0: index, 1: index + 1}, {}, ()))
        painted = [own_text(texts, lane, ("Base", "DoLa"), coloured) for lane in (0, 1)]
        drawn = frame(painted, os.terminal_size((columns, lines)))
        bare = [re.sub(r"\x1b\[[0-9;]*m", "", row) for row in drawn]
        assert len(drawn) <= max(lines - 1, 2)
        assert max(map(width_of, bare)) <= columns
        assert [row for row in bare if row[0] in "●◆"] == ["● Base", "◆ DoLa"]
        if lines >= 5:
            assert bare[-1].endswith("40")

    def test_rows_are_as_wide_as_their_characters_and_complete_by_themselves(self):
        assert rows("日本語ab", 4) == ["日本", "語ab"]
        assert rows("e\u0301e\u0301e\u0301", 2) == ["e\u0301e\u0301", "e\u0301"]
        assert rows("ab\n\ncd", 4) == ["ab", "", "cd"]
        assert rows(coloured("abc", "quiet") + "d", 2) == ["\x1b[2mab\x1b[0m", "\x1b[2mc\x1b[0md"]

    def test_a_character_of_several_tokens_comes_out_whole(self):
        halves = "é".encode()
        texts = Texts(
            "p", lambda ids: bytes(halves[i] for i in ids).decode(errors="replace"), lambda i: f"<0x{halves[i]:X}>"
        )
        written: list[str] = []
        stream = Stream(written.append, command.NAMES)
        for index in (0, 1, 0):
            texts.add(Advance(index, {0: index, 1: index}, {}, ()))
            stream.show(texts)
        assert written == ["p", "é"]
        texts.stop()
        stream.finish(texts)
        assert written[2] == "\ufffd\nBoth wrote the same 3 tokens: stopped by you.\n"

    def test_white_space_on_which_the_decoders_disagree_can_be_seen(self, trace):
        pieces = {0: "\n", 1: " ", 2: " x\n", 3: "\x1b[2J", 4: "</s>"}
        step = trace.steps[trace.fork]
        assert step.choices[0].id != step.choices[1].id
        texts = Texts("p", lambda ids: "".join(pieces[i] for i in ids if i < 4), pieces.get)
        for index in range(5):
            record = step.model_copy(update={"lanes": (1,)})
            texts.add(Advance(index, {0: 4, 1: index}, {}, (record,)))
        assert own_text(texts, 1, command.NAMES, plain) == "◆ DoLa-static\n⟦⏎⟧\n⟦␣⟧ ⟦x⟧\n⟦\\x1b[2J⟧⟦</s>⟧"

    def test_visible_text_obeys_nothing(self):
        for number in (*range(0x110), 0x200E, 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xD800, 0xE0041):
            c = chr(number)
            assert visible(c).isprintable() or c in "\n\t\xa0"
            assert visible(c) == c or visible(c).startswith("\\")
        assert visible("Brasília 日本\tन\u200d👩\u200d🔬\n") == "Brasília 日本\tन\u200d👩\u200d🔬\n"


def run_in_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The command in a pseudo-terminal: its status, and all that it wrote there."""
    master, slave = pty.openpty()
    quiet = {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20", "NO_COLOR": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "dola_core", *arguments, *QUIET], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave,
        env=os.environ | quiet | environment,
    )  # fmt: skip
    os.close(slave)
    out = b""
    with suppress(OSError):  # Linux says so when the other side has closed
        while part := os.read(master, 1 << 16):
            out += part
    os.close(master)
    return process.wait(), out.decode().replace("\r\n", "\n")


class TestProcess:
    def test_in_a_terminal_it_is_coloured_and_ends_as_the_plain_text_does(self, loaded, quick, capsys):
        status, out = run_in_terminal(PROMPT, *ASKED)
        assert status == 0
        assert "\x1b[1;38;5;33m● Baseline\x1b[0m" in out
        assert "\x1b[1;4;38;5;166mAustralia\x1b[0m" in out
        command.main([PROMPT, *ASKED])
        assert shown(out, 60) == re.sub("[⟦⟧]", "", capsys.readouterr().out)

    def test_in_a_terminal_without_colour_it_is_plain(self, quick, capsys):
        command.main([PROMPT, *ASKED])
        assert run_in_terminal(PROMPT, *ASKED, NO_COLOR="1") == (0, capsys.readouterr().out)

    def test_in_a_pipe_it_is_plain_and_where_a_letter_cannot_be_written_its_number_is(self, quick, capsys):
        command.main([PROMPT, *ASKED])
        asked = [sys.executable, "-m", "dola_core", PROMPT, *ASKED, *QUIET]
        environment = os.environ | {"PYTHONIOENCODING": "ascii"}
        ran = subprocess.run(asked, cwd=ROOT, capture_output=True, env=environment, check=True)
        assert ran.stderr == b""
        assert ran.stdout == capsys.readouterr().out.encode("ascii", "backslashreplace")

    def test_a_reader_that_goes_away_ends_it_without_a_word(self):
        asked = [sys.executable, "-m", "dola_core", PROMPT, *ASKED, *QUIET]
        process = subprocess.Popen(asked, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.communicate()[1] == b""
        assert process.returncode == 141

    def test_a_reader_that_goes_away_does_not_cost_the_trace(self, quick, monkeypatch, tmp_path, capsys):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            assert command.main([PROMPT, *ASKED, "--trace", str(tmp_path / "out.json")]) == 0
        assert Trace.model_validate_json((tmp_path / "out.json").read_text()).ends == ("eos", "eos")
        assert capsys.readouterr().err == ""

    def test_a_full_disk_under_the_output_is_said(self, quick, monkeypatch, capsys):
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            assert command.main([PROMPT]) == 1
        assert capsys.readouterr().err == (
            "python -m dola_core: the output cannot be written: No space left on device.\n"
        )

    def test_help_and_mistyped_options_do_not_wait_for_pytorch(self):
        code = (
            "import sys\nfrom dola_core.cli.compare import main\n"
            "for asked in (['--help'], ['x', '--layer', 'y']):\n"
            "    try: main(asked)\n    except SystemExit: pass\n"
            "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
        )
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "--max-new-tokens" in ran.stdout
