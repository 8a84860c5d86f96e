"""Any lanes in the terminal: named by `--lane`, each with its text and its differences from the first."""

import json
import re

import pytest

from dola_core.cli import compare as command
from dola_core.lanes import Baseline, DolaDynamic, DolaStatic, distinct_names

PROMPT = "The capital of Australia is"
LANES = ["plain", "static:22,alpha=0.1", "dynamic:high", "plain,penalty=1.4"]


def options(*lanes: str, **more: str) -> list[str]:
    return [PROMPT, "--max-new-tokens", "5", *(part for lane in lanes for part in ("--lane", lane))]


def test_every_lane_is_written_and_compared_with_the_first(quick, tmp_path, capsys):
    file = tmp_path / "out.json"
    assert command.main([*options(*LANES), "--trace", str(file)]) == 0
    printed, trace = capsys.readouterr().out, json.loads(file.read_text())
    assert [lane["kind"] for lane in trace["lanes"]] == ["plain", "static", "dynamic", "plain"]
    assert trace["lanes"][2]["layers"]
    for line in ("● Baseline", "◆ DoLa-static: j* = 22 · α = 0.1", "▲ DoLa-dynamic: j ∈ high · α = 0.1",
                 "■ Baseline: penalty 1.4"):  # fmt: skip
        assert f"\n{line}\n" in printed
    parted = printed.partition("the texts part at step")[2]
    for name in ("● Baseline", "◆ DoLa-static", "▲ DoLa-dynamic", "■ Baseline (penalty 1.4)"):
        assert f"\n{name}\n" in parted
    assert len(re.findall(r"^On the text of|^None of \d+ choices? of", printed, re.MULTILINE)) == 3


def test_one_lane_alone_is_written(quick, capsys):
    assert command.main(options("dynamic:low")) == 0
    assert "● DoLa-dynamic: j ∈ low · α = 0.1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--lane", "dynamic:mid"], "The lane 'dynamic:mid' cannot be used"),
        (["--lane", "static:99"], "layer must be an integer from 1 to"),
        (["--lane", "dynamic:0-99"], "must lie within the layers 0 to"),
        (["--lane", "fast"], "A lane is written like"),
        (["--lane", "plain", "--layer", "3"], "--lane names a decoder whole"),
        (["--lane", "plain"] * 17, "--lane can be given 16 times at most"),
    ],
)
def test_lanes_that_cannot_be_are_refused_in_one_sentence(quick, capsys, given, said):
    assert command.main([PROMPT, *given]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_lanes_of_one_name_are_told_apart():
    fourth = DolaStatic(layer=4)
    lanes = [Baseline(), DolaStatic(layer=3), fourth, fourth, DolaDynamic(bucket="low"), Baseline()]
    assert distinct_names(lanes) == [
        "Baseline", "DoLa-static (j* = 3 · α = 0.1)", "DoLa-static (j* = 4 · α = 0.1)",
        "DoLa-static (j* = 4 · α = 0.1) #2", "DoLa-dynamic", "Baseline #2",
    ]  # fmt: skip
