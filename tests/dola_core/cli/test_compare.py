"""The command prints what a comparison of the same settings gives, and writes its trace."""

import errno
import io
import json
import re
import sys
from pathlib import Path

import pytest

from dola_core.cli import compare as command
from dola_core.cli.render import token_label
from dola_core.decoding.engine import Engine
from dola_core.decoding.lockstep import StepOutput
from dola_core.trace.schema import Trace
from tests.dola_core.cli.comparisons import CONTRAST, PROMPT, SAME, record, without_marks


def differing(trace: Trace, lane: int) -> list[str]:
    """The tokens of a lane's text on which the decoders disagree, without the space before them."""
    steps = [step for step in trace.lane_steps(lane) if step.choices[0].id != step.choices[1].id]
    return [trace.pieces[step.choices[lane].id].strip() for step in steps]


def parts(out: str) -> list[str]:
    """The four parts of the output: before the fork, the baseline's own text, DoLa's, and the summary."""
    pattern = r"(.*)── the texts part at step \d+ ──\n● Baseline\n(.*)◆ DoLa-static\n(.*?)\n\n(.*)"
    return list(re.fullmatch(pattern, out, re.S).groups())


class TestOutput:
    def test_the_shared_text_stands_once_and_then_each_lane_has_its_own(self, quick, trace, loaded, capsys):
        assert command.main([PROMPT, *CONTRAST]) == 0
        before, base, dola, _ = parts(capsys.readouterr().out)
        shared = loaded.text(trace.lane_ids(0)[: trace.fork])
        assert before.split("\n\n")[1] == f"{PROMPT}{shared}\n"
        text, end = without_marks(dola).strip("\n").rsplit("\n", 1)
        assert text.removesuffix("</s>") == trace.texts[1][len(shared) :]
        assert end == f"{len(trace.lane_ids(1))} tokens: end of text (</s>)"
        assert without_marks(base) == f"{trace.texts[0][len(shared) :]}</s>\n3 tokens: end of text (</s>)\n"

    def test_the_marked_tokens_are_those_that_the_decoders_disagree_on(self, quick, trace, capsys):
        command.main([PROMPT, *CONTRAST])
        before, base, dola, _ = parts(capsys.readouterr().out)
        assert "⟦" not in before
        assert re.findall("⟦(.*?)⟧", base) == differing(trace, 0) == ["</s>"]
        assert re.findall("⟦(.*?)⟧", dola) == differing(trace, 1)

    def test_the_differing_choices_are_counted_and_listed(self, quick, trace, capsys):
        command.main([PROMPT, *CONTRAST])
        summary, header, *table = parts(capsys.readouterr().out)[3].splitlines()
        steps = [step for step in trace.lane_steps(1) if step.choices[0].id != step.choices[1].id]
        many, first = len(trace.lane_ids(1)), steps[0].index + 1
        expected = f"On the text of DoLa-static, {len(steps)} of {many} choices differ, the first at step {first}:"
        assert summary == expected
        assert header == "step  DoLa-static  p_hat  Baseline  q_N"
        assert [line.split() for line in table] == [
            [str(step.index + 1), token_label(trace.pieces[dola.id]), f"{dola.p:.2f}",
             token_label(trace.pieces[base.id]), f"{base.p:.2f}"]
            for step in steps for base, dola in [step.choices]
        ]  # fmt: skip

    def test_texts_that_never_part_stand_once(self, quick, loaded, capsys):
        assert command.main([SAME, *CONTRAST]) == 0
        same, out = record(loaded, SAME), capsys.readouterr().out
        assert same.fork is None
        body = (
            f"{SAME}{same.texts[0]}\nBoth wrote the same 3 tokens: end of text (</s>).\n\nNone of 3 choices differs.\n"
        )
        assert out.endswith(f"tokens\n\n{body}")

    def test_each_lane_shows_why_it_ended(self, quick, capsys):
        command.main([PROMPT, *CONTRAST, "--stop", "Australia", "--stop", "zzz"])
        assert "\n3 tokens: stop string (Australia)\n" in capsys.readouterr().out
        command.main([PROMPT, *CONTRAST, "--max-new-tokens", "9"])
        out = capsys.readouterr().out
        assert "\n3 tokens: end of text (</s>)\n" in out
        assert "\n9 tokens: length limit\n" in out
        command.main([PROMPT, *CONTRAST, "--max-new-tokens", "1"])
        assert "Both wrote the same 1 token: length limit.\n\nNone of 1 choice differs." in capsys.readouterr().out

    def test_layer_and_alpha_are_by_default_those_recorded_with_the_model(self, quick, loaded, capsys):
        command.main([SAME])
        assert f"j* = {loaded.preset.layer} · α = {loaded.preset.alpha:g} · greedy" in capsys.readouterr().out

    def test_a_prompt_from_standard_input_is_the_same_without_its_last_line_break(self, quick, monkeypatch, capsys):
        command.main([PROMPT, *CONTRAST])
        expected = capsys.readouterr().out
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PROMPT}\n"))
        assert command.main(["-", *CONTRAST]) == 0
        assert capsys.readouterr().out == expected

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
    def test_a_prompt_from_standard_input_is_the_same_in_every_encoding(self, quick, monkeypatch, capsys, encoding):
        command.main([PROMPT, *CONTRAST])
        expected = capsys.readouterr().out
        data = io.BytesIO(f"{PROMPT}\r\n".encode(encoding))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, encoding="utf-8"))
        assert command.main(["-", *CONTRAST]) == 0
        assert capsys.readouterr().out == expected

    def test_control_and_direction_characters_are_spelled_out(self, quick, capsys):
        assert command.main(["Red \x1b[31m\x9b2J\x07 \u202ecapital of Chile is", "--max-new-tokens", "3"]) == 0
        out = capsys.readouterr().out
        assert "Red \\x1b[31m\\x9b2J\\x07 \\u202ecapital of Chile is" in out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)

    def test_numbers_that_are_not_finite_end_both_lanes(self, quick, monkeypatch, tmp_path, capsys):
        def broken(*_, **__):
            yield StepOutput(0, {}, {0: "broken", 1: "broken"}, ())

        monkeypatch.setattr(Engine, "compare", broken)
        assert command.main([PROMPT, "--trace", str(tmp_path / "out.json")]) == 1
        printed = capsys.readouterr()
        assert f"{PROMPT}\nNothing was written: numbers that are not finite.\n" in printed.out
        message = "python -m dola_core: the model's numbers were no longer finite; --dtype float32 may help.\n"
        assert printed.err == message
        assert Trace.model_validate_json((tmp_path / "out.json").read_text()).ends == ("broken", "broken")

    def test_memory_that_runs_out_ends_in_a_sentence(self, quick, monkeypatch, capsys):
        def large(*_, **__):
            raise MemoryError
            yield

        monkeypatch.setattr(Engine, "compare", large)
        assert command.main([PROMPT]) == 1
        printed = capsys.readouterr()
        assert printed.out.endswith(f"\n\n{PROMPT}\n")
        assert "memory ran out" in printed.err


class TestTraceFile:
    @pytest.mark.parametrize("kind", [str, Path])
    def test_it_is_what_compare_records_with_the_same_settings(self, quick, loaded, tmp_path, capsys, kind):
        file = tmp_path / "out.json"
        config = {
            "max_new_tokens": 12, "temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "seed": 5,
            "repetition_penalty": 1.3, "penalty_position": "after", "stop": (".",),
        }  # fmt: skip
        options = [f"--{name.replace('_', '-')}={value}" for name, value in config.items() if name != "stop"]
        arguments = [PROMPT, "--layer=9", "--alpha=0.3", "--raw-early", "--stop=.", "--trace", kind(file), *options]
        assert command.main(arguments) == 0
        assert file.read_text() == record(loaded, PROMPT, layer=9, alpha=0.3, early_norm=False, **config).to_json()
        assert capsys.readouterr().out.endswith(f"\nThe trace is in {file}.\n")
        assert list(tmp_path.iterdir()) == [file]

    def test_a_prompt_that_is_not_well_formed_can_be_written(self, quick, tmp_path):
        file = tmp_path / "out.json"
        assert command.main(["caf\udce9 is", "--max-new-tokens", "2", "--trace", str(file)]) == 0
        assert json.loads(file.read_text())["prompt"] == "caf? is"

    def test_a_disk_that_is_full_leaves_the_former_file_whole(self, quick, tmp_path, monkeypatch, capsys):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        file = tmp_path / "out.json"
        file.write_text("old")
        monkeypatch.setattr(Path, "replace", full)
        assert command.main([SAME, "--trace", str(file)]) == 1
        printed = capsys.readouterr()
        assert printed.err == f"python -m dola_core: the trace cannot be written to {file}: No space left on device.\n"
        assert "Both wrote the same" in printed.out
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]
