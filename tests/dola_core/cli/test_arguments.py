"""Every mistake in the arguments ends in one sentence, and nobody waits for PyTorch to read it."""

import io
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from dola_core.cli import arguments
from dola_core.cli import compare as command
from dola_core.layer_search import __main__ as layer_search
from dola_core.layer_search.answers.plausible_heads import PostSoftmax
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import Format
from dola_core.layer_search.search_config import Strategy, Task
from dola_core.models.devices import DTYPES
from dola_core.models.preset import PRESET_FILE
from tests.dola_core.cli.comparisons import PROMPT, ROOT


def refused(given: list[str], capsys) -> tuple[int, str]:
    """The status and the only line of what a mistake ends in."""
    try:
        status = command.main(given)
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("python -m dola_core: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith(".\n")
    return status, printed.err


@pytest.mark.parametrize(
    ("given", "message"),
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
        ([PROMPT, "--max-new-tokens", "0"], "--max-new-tokens: must be at least 1 (got 0)"),
        ([PROMPT, "--top-p", "0"], "--top-p: "),
        ([PROMPT, "--min-p", "2"], "--min-p: "),
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
def test_an_argument_out_of_its_range_is_refused_in_a_sentence(quick, given, message, capsys):
    status, line = refused(given, capsys)
    assert status == 2
    assert message in line


def test_a_model_that_cannot_be_loaded_is_named(tmp_path, capsys):
    status, line = refused([PROMPT, "--model", str(tmp_path)], capsys)
    assert status == 1
    assert line == f"python -m dola_core: The folder {tmp_path} holds no model: it has no config.json.\n"
    status, line = refused([PROMPT, "--device", "abacus"], capsys)
    assert status == 1
    assert "There is no device 'abacus' here" in line


def test_standard_input_must_be_text(monkeypatch, capsys):
    for data, message in (
        (b"caf\xe9", "standard input is not text in utf-8."),
        (b"\xff\xfeA\x00B", "standard input is not text in utf-16-le."),
        (b"", "The prompt is empty; type something to complete."),
        (b"\xff\xfe", "The prompt is empty; type something to complete."),
        (b"\xef\xbb\xbf\r\n", "The prompt is empty; type something to complete."),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        assert refused(["-"], capsys) == (2, f"python -m dola_core: {message}\n")


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("/usr/local/bin/dola", "dola"),
        ("dola.exe", "dola"),
        ("/somewhere/dola_core/__main__.py", "python -m dola_core"),
        ("-c", "python -m dola_core"),
        ("", "python -m dola_core"),
    ],
)
def test_usage_and_errors_name_the_program_as_it_was_started(monkeypatch, capsys, started, name):
    monkeypatch.setattr(sys, "argv", [started])
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {name} [-h]")
    with pytest.raises(SystemExit):
        command.main(["x", "--layer", "y"])
    assert command.main([" "]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{name}: argument --layer: invalid int value: 'y'; --help lists the options."
    assert second == f"{name}: The prompt is empty; type something to complete."


def test_the_layer_search_is_named_as_it_was_started_too(monkeypatch, capsys):
    for started, name in (("/bin/dola-layer-search", "dola-layer-search"), ("", "python -m dola_core.layer_search")):
        monkeypatch.setattr(sys, "argv", [started])
        with pytest.raises(SystemExit):
            layer_search.main(["--data", Path("questions.csv"), "--limit", "-1"])
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"usage: {name} [-h]")
        assert lines[-1] == f"{name}: error: --limit must be a number of questions."


def test_choices_that_are_written_out_are_those_of_the_slow_modules():
    assert tuple(DTYPES) == arguments.DTYPES
    assert get_args(Format) == layer_search.FORMATS
    assert get_args(Task) == layer_search.TASKS
    assert get_args(Strategy) == layer_search.STRATEGIES
    assert get_args(Metric) == layer_search.METRICS
    assert get_args(PostSoftmax) == layer_search.POST_SOFTMAX
    assert layer_search.PRESET_FILE == PRESET_FILE


@pytest.mark.parametrize("module", ["dola_core.cli.compare", "dola_core.layer_search.__main__"])
def test_help_and_mistyped_options_do_not_wait_for_slow_imports(module):
    code = (
        f"import sys\nfrom {module} import main\n"
        "for given in (['--help'], ['--no-such-option']):\n"
        "    try: main(given)\n    except SystemExit: pass\n"
        "slow = {'torch', 'transformers', 'pydantic', 'rich.live'} & set(sys.modules)\n"
        "print(slow, file=sys.stderr)\nsys.exit(bool(slow))"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "--max-new-tokens" in finished.stdout
