"""The two kinds of Space: the shipped model on a CPU, and a model of the Hub on ZeroGPU."""

from pathlib import Path

import pytest

from tests.assets.space.assembling import HUB_MODEL, assemble


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of both kinds, `shipped` and `zero`."""
    folders = {kind: tmp_path_factory.mktemp("space") / kind for kind in ("shipped", "zero")}
    for kind, arguments in (("shipped", ()), ("zero", ("--model", HUB_MODEL))):
        process = assemble(folders[kind], *arguments)
        assert process.returncode == 0, process.stderr
    return folders


@pytest.fixture(params=["shipped", "zero"])
def space(request: pytest.FixtureRequest, spaces: dict[str, Path]) -> Path:
    """The folder of one kind, then of the other."""
    return spaces[request.param]
