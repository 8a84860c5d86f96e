"""Which models the page comes up with, where some of them cannot be loaded."""

import pytest

from app.settings import Settings
from dola_core.errors import LoadError
from dola_core.files.paths import SHIPPED_MODEL
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import tiny
from tests.server import ROOT, load_module


@pytest.fixture(scope="module")
def starter():
    return load_module(ROOT / "app.py", "page_starter")


@pytest.fixture
def broken(tmp_path):
    where = tmp_path / "broken"
    where.mkdir()
    (where / "config.json").write_text("{}", encoding="utf-8")
    return str(where)


def quick(**named) -> Settings:
    return Settings(device="cpu", dtype="float32", **named)


@pytest.mark.parametrize("broken_first", [True, False])
def test_a_model_that_cannot_be_loaded_gives_way_to_the_next_and_stays_in_the_menu(
    starter, broken, broken_first, capsys
):
    names = (broken, str(SHIPPED_MODEL)) if broken_first else (str(SHIPPED_MODEL), broken)
    pool = starter.load_pool(quick(model=names))
    assert pool.first.name == "atlas-30l"
    assert list(pool.titles) == ["atlas-30l", "broken"]
    said = capsys.readouterr().err
    assert said.count("\n") == broken_first
    assert ("The page comes up on Atlas-30L." in said) == broken_first
    with pytest.raises(LoadError):
        pool.get("broken")


def test_of_several_that_cannot_be_loaded_each_is_said_and_the_first_that_can_is_taken(
    starter, broken, tmp_path, capsys
):
    tiny_one = str(folder(tiny("llama"), tmp_path / "tiny"))
    pool = starter.load_pool(quick(model=(broken, str(tmp_path / "nowhere"), tiny_one, str(SHIPPED_MODEL))))
    assert pool.first.name == "tiny"
    assert list(pool.titles) == ["tiny", "atlas-30l", "broken", "nowhere"]
    first, second = capsys.readouterr().err.splitlines()
    assert "comes up on nowhere" in first
    assert "comes up on tiny" in second


def test_where_none_can_be_loaded_the_page_does_not_come_up(starter, broken, tmp_path):
    for names in ((broken,), (broken, str(tmp_path / "nowhere"))):
        with pytest.raises(LoadError):
            starter.load_pool(quick(model=names))


def test_on_zero_gpu_all_models_that_can_be_are_loaded(starter, broken, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("app.jobs.engine_pool.ZERO_GPU", True)
    tiny_one = str(folder(tiny("llama"), tmp_path / "tiny"))
    pool = starter.load_pool(quick(model=(tiny_one, broken, str(SHIPPED_MODEL))))
    assert list(pool.titles) == ["tiny", "atlas-30l", "broken"]
    assert [pool.is_loaded(name) for name in pool.titles] == [True, True, False]
    assert capsys.readouterr().err.count("\n") == 1
