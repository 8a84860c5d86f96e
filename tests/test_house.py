"""The house keeps its shape: small files, few a folder, imports that flow one way, no name twice."""

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dola_core", "app")
MAX_LINES = 350
MAX_ENTRIES = {"dola_core": 15, "app": 13, "tests": 15}
"""Files and folders in one folder."""
PAGE_LIBRARIES = {"app", "gradio", "gradio_client", "plotly"}


def python_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(file: Path) -> set[str]:
    """Modules that a file imports when it is imported; what only a type checker reads does not count."""
    found: set[str] = set()
    hidden = {
        child
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree_of(file)):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """{module: modules of our own that it imports}; the package that offers its parts lazily imports none."""
    modules = {module_of(file): file for file in python_files(*PACKAGES)}
    return {name: {other for other in imports_of(file) if other in modules} for name, file in modules.items()}


def room_of(module: str) -> str:
    """The folder of a module, or the module itself at the top of a package."""
    return ".".join(module.split(".")[:2])


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of some circle, or of none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for other in sorted(graph.get(node, ())):
            if circle := visit(other, [*path, node]):
                return circle
        done.add(node)
        return []

    return next((circle for node in sorted(graph) if (circle := visit(node, []))), [])


def test_the_check_for_circles_finds_one():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_is_two_things():
    scripts = [file for ending in ("js", "css") for file in (ROOT / "assets" / "page").glob(f"*.{ending}")]
    files = [*python_files(*PACKAGES, "tests", "assets"), ROOT / "app.py", *scripts]
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_no_folder_is_crowded(folder):
    folders = [ROOT / folder, *(path for path in (ROOT / folder).rglob("*") if path.is_dir())]
    entries = {
        str(path.relative_to(ROOT)): sum(e.suffix in ("", ".py") and e.name[0] not in "_." for e in path.iterdir())
        for path in folders
        if path.name != "__pycache__"
    }
    assert {name: count for name, count in entries.items() if count > MAX_ENTRIES[folder]} == {}


def test_no_module_and_no_room_is_part_of_a_circle():
    assert circle_in(arrows()) == []
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, others in arrows().items():
        if module != "dola_core":  # offers the public names lazily, from every room
            rooms[room_of(module)] |= {room_of(other) for other in others} - {room_of(module), "dola_core", "app"}
    assert circle_in(rooms) == []


def test_the_core_knows_nothing_of_the_page():
    for file in python_files("dola_core"):
        roots = {name.partition(".")[0] for name in imports_of(file)}
        assert not roots & PAGE_LIBRARIES, file


def test_what_is_rendered_needs_neither_gradio_nor_a_model():
    for file in python_files("app/render"):
        assert not {"gradio", "transformers"} & {name.partition(".")[0] for name in imports_of(file)}, file


def test_the_page_imports_at_module_level_only():
    """Under `gradio app.py`, `from app.x import y` inside a handler finds the script instead of the package."""
    for file in python_files("app"):
        inside = [
            child
            for node in ast.walk(tree_of(file))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for child in ast.walk(node)
        ]
        assert not [node for node in inside if isinstance(node, ast.Import | ast.ImportFrom)], file


def test_no_class_name_stands_twice():
    names = Counter(
        node.name
        for file in python_files(*PACKAGES, "tests", "assets")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_private_parts_of_gradio_are_touched_in_one_file():
    private = re.compile(r"\b(page|blocks|self)\._(queue|id|updated)\b|state_holder|config_values|blocks_config")
    files = [file for file in python_files("app") if private.search(file.read_text(encoding="utf-8"))]
    assert [file.name for file in files] == ["gradio_internals.py"]


def test_tests_begin_no_event_loop_of_their_own():
    """A browser's loop may be running in the thread: `loops.py` says more. A client is a process of its own."""
    loops = re.compile(r"\basyncio\.run\(|\brun_until_complete\(|\bnew_event_loop\(")
    own = [file for file in python_files("tests") if "clients" not in file.parts and file.name != "loops.py"]
    assert [str(file.relative_to(ROOT)) for file in own if loops.search(file.read_text("utf-8"))] == []
