import subprocess
import sys
from pathlib import Path

import pytest

from app import settings
from app.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]
WRONG_HOSTS = (
    "https://example.org", "example.org/", "a b", "a:0", "a:65536", "a:x", "a..b", ".a", "*.", "**", "*.*.a", "a.*",
    "::1", "user@a", "ex\u00e4mple", "a,b c",
)  # fmt: skip


def test_command_line_beats_environment_beats_default(monkeypatch):
    monkeypatch.setenv("DOLA_MODEL", "from-environment")
    monkeypatch.setenv("DOLA_MAX_NEW_TOKENS", "99")
    settings = read_settings(["--max-new-tokens", "12", "--share"])
    assert (settings.names, settings.max_new_tokens, settings.share, settings.device) == (
        ("from-environment",), 12, True, "auto",
    )  # fmt: skip


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("DOLA_MODEL", "")
    assert read_settings([]).names == ()


def test_several_models_make_a_list_however_they_are_given(monkeypatch):
    assert read_settings(["--model", "a", "--model", "b/c", "--model", "a"]).names == ("a", "b/c")
    assert read_settings(["--model", "a,b/c"]).names == ("a", "b/c")
    monkeypatch.setenv("DOLA_MODELS", "a, b/c,")
    assert read_settings([]).names == ("a", "b/c")
    monkeypatch.setenv("DOLA_MODEL", "d")
    assert read_settings([]).names == ("d", "a", "b/c")


def test_allowed_hosts_make_a_list_however_they_are_given(monkeypatch):
    given = ("example.org", "example.org:443", "*.example.org", "[::1]:7860", "192.0.2.7", "under_score", "*")
    assert read_settings([]).allowed_hosts == ()
    assert read_settings(["--allowed-hosts", ", ".join(given)]).allowed_hosts == given
    assert read_settings(["--allowed-hosts", "a", "--allowed-hosts", "b,c"]).allowed_hosts == ("a", "b", "c")
    monkeypatch.setenv("DOLA_ALLOWED_HOSTS", ",".join(given))
    assert read_settings([]).allowed_hosts == given
    monkeypatch.setenv("DOLA_ALLOWED_HOSTS", "")
    assert read_settings([]).allowed_hosts == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((["--allowed-hosts", host], "allowed-hosts: name hosts as in example.org") for host in WRONG_HOSTS),
        (["--port", "99999"], "port: must be at most 65,535"),
        (["--port", "x"], "port: must be a whole number"),
        (["--dtype", "int3"], "int3"),
        (["--nonsense", "1"], "nonsense"),
    ],
)
def test_a_mistyped_option_ends_in_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        read_settings(arguments)
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in printed
    assert "Traceback" not in printed


def test_help_names_every_option_without_importing_torch():
    code = "import sys, runpy; sys.argv = ['app.py', '--help']\ntry: runpy.run_path('app.py', run_name='__main__')\n"
    code += "except SystemExit: assert 'torch' not in sys.modules and 'gradio' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in done.stdout


def test_a_model_that_is_not_there_ends_in_a_sentence():
    command = [sys.executable, "app.py", "--model", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "The folder tests holds no model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_beside_the_page_sets_what_neither_command_line_nor_environment_does(tmp_path, monkeypatch):
    file = tmp_path / "settings.env"
    file.write_text("# of a folder\nDOLA_MODEL=from/file\nDOLA_TIME_LIMIT=60\n", encoding="utf-8")
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    assert (read_settings([]).names, read_settings([]).time_limit) == (("from/file",), 60)
    monkeypatch.setenv("DOLA_MODEL", "from/environment")
    assert read_settings([]).names == ("from/environment",)
    assert read_settings(["--model", "from/line"]).names == ("from/line",)


def test_no_such_file_is_part_of_the_project():
    assert not settings.SETTINGS_FILE.exists()
