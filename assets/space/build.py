"""Put together a folder to push as a Hugging Face Space: `make space OUT=folder`, for ZeroGPU with `MODEL=name`.

Without a model the Space serves SmolLM2 from the Hub on any hardware, CPU basic included, with Atlas-30L in the menu.
With one it serves that model of the Hub and suggests ZeroGPU. The same tree and model give the same bytes. Needs the
standard library alone.
"""

import argparse
import re
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
KEPT = (
    "LICENSE",
    "app.py",
    "app/**/*.py",
    "dola_core/**/*.py",
    "dola_core/py.typed",
    "assets/models/*/README.md",
    "assets/models/*/dola_static.json",
    "assets/models/*/examples.json",
    "assets/models/*/layer_search/result.json",
    "assets/models/*/traces/*.json",
    "assets/models/atlas-30l/config.json",
    "assets/models/atlas-30l/generation_config.json",
    "assets/models/atlas-30l/model.safetensors",
    "assets/models/atlas-30l/tokenizer*.json",
    "assets/models/atlas-30l/validation.jsonl",
    "assets/page/*.css",
    "assets/page/*.js",
    "assets/pictures/preview.png",
    "assets/plotly/LICENSE",
    "assets/plotly/plotly.min.js",
    "assets/words/*.md",
    "assets/words/*.toml",
)
"""What the running page reads. The README's pictures are added to it."""
README, REQUIREMENTS, SETTINGS = "README.md", "requirements.txt", "settings.env"
CONTENTS = ".assembled"
"""A list of the files that were put into the folder. A folder without it holds something else."""
LARGE = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.png filter=lfs diff=lfs merge=lfs -text\n"
"""The Hub takes binary files through LFS only."""
IGNORED = "__pycache__/\n*.pyi\n.gradio/\n"
"""Files that serving the page leaves in the folder."""
ZERO_PYTHON, ZERO_TORCH = "3.12.12", "torch==2.11.0"
"""The newest versions that ZeroGPU offers and the code runs with."""
ZERO_PACKAGES = ("spaces>=0.51",)
SERVED, HUB_SMOLLM2 = "smollm2,atlas-30l", "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The models of a Space for which none is named, and where the first is fetched from."""
MODEL_NAME = r"[\w.-]+/[\w.-]+"


class SpaceError(Exception):
    """The folder cannot be put together; the message is the reason."""


def assemble(out: Path, model: str | None = None) -> None:
    """Write the Space into the folder `out`, which is empty, does not exist yet, or is an earlier Space.

    `model` is a name on the Hub, for a Space on ZeroGPU, or None for `SERVED` on a CPU. The files of an earlier Space
    are replaced, other files beside them are left alone. Raises `SpaceError`.
    """
    if model is not None and not re.fullmatch(MODEL_NAME, model):
        raise SpaceError(f"{model!r} is no model on the Hub; name one as owner/model, or none for SmolLM2.")
    files = contents(model)
    _clear(out)
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)


def contents(model: str | None = None) -> dict[str, bytes]:
    """{path in the Space: content} of all its files, in order of path."""
    readme = (ROOT / README).read_text(encoding="utf-8")
    matter, body = front_matter(readme)
    served = f"DOLA_MODEL={model}" if model else f"DOLA_MODELS={SERVED}"
    written = {
        README: "---\n" + "".join(f"{key}:{value}" for key, value in _configured(matter, model).items()) + "---\n",
        REQUIREMENTS: requirements((ROOT / REQUIREMENTS).read_text(encoding="utf-8"), matter, model),
        ".gitattributes": LARGE,
        ".gitignore": IGNORED,
        SETTINGS: f"# What this Space serves; variables in its settings go before.\n{served}\n",
    }
    pictures = re.findall(r"!\[[^]]*]\(([^)]+)\)", body)
    paths = {path for pattern in KEPT for path in ROOT.glob(pattern)} | {ROOT / picture for picture in pictures}
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}
    names = [*files, *written, CONTENTS]
    written[README] += _without_dead_links(body, names)
    written[CONTENTS] = "".join(f"{name}\n" for name in sorted(names))
    files |= {name: text.encode() for name, text in written.items()}
    return dict(sorted(files.items()))


def front_matter(readme: str) -> tuple[dict[str, str], str]:
    """The YAML at the top of a README as {key: text from its colon to the next key}, and the rest of the README."""
    parts = re.fullmatch(r"---\n(.*?)^---\n(.*)", readme, re.DOTALL | re.MULTILINE)
    if parts is None:
        raise SpaceError(f"{README} does not begin with the front matter of a Space.")
    return dict(re.findall(r"^(\w+):(.*?\n)(?=\w|\Z)", parts[1], re.DOTALL | re.MULTILINE)), parts[2]


def requirements(text: str, matter: dict[str, str], model: str | None) -> str:
    """The requirements of a Space: those of the project but gradio, which a Space gets by its `sdk_version`."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    gradio = f"gradio=={matter['sdk_version'].strip()}"
    if gradio not in lines:
        raise SpaceError(f"{README} is for {gradio}, and {REQUIREMENTS} is not.")
    lines.remove(gradio)
    if model:
        lines = [ZERO_TORCH if re.match(r"torch\b", line) else line for line in lines] + list(ZERO_PACKAGES)
    return "# gradio comes with the Space, by sdk_version in README.md.\n" + "".join(f"{line}\n" for line in lines)


def _configured(matter: dict[str, str], model: str | None) -> dict[str, str]:
    """The front matter of a Space on a CPU, or with `model` on ZeroGPU."""
    own = matter | {"models": f"\n  - {model or HUB_SMOLLM2}\n"}
    if model is None:
        return own | {"suggested_hardware": " cpu-basic\n"}
    return own | {
        "python_version": f' "{ZERO_PYTHON}"\n',
        "suggested_hardware": " zero-a10g\n",
    }


def _without_dead_links(body: str, names: list[str]) -> str:
    """`body` with plain text in place of links to files that are not among `names`."""

    def keep(link: re.Match[str]) -> str:
        target = link[2].partition("#")[0]
        return link[0] if not target or ":" in target or target in names else link[1]

    return re.sub(r"(?<!!)\[([^][]*)]\(([^)\s]+)\)", keep, body)


def _clear(out: Path) -> None:
    """Remove the files of an earlier Space from `out`; raises `SpaceError` if it holds something else."""
    if out.exists() and not out.is_dir():
        raise SpaceError(f"{out} is a file; name a folder.")
    if (out / CONTENTS).is_file():
        for name in (out / CONTENTS).read_text(encoding="utf-8").splitlines():
            if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts:
                (out / name).unlink(missing_ok=True)
    elif out.exists() and (others := sorted(path.name for path in out.iterdir() if path.name != ".git")):
        raise SpaceError(f"{out} holds something else ({others[0]}); name a folder that is empty or not there yet.")


def main() -> None:
    """Put a Space together, or exit with one sentence."""
    parser = argparse.ArgumentParser(prog="space", description="Put together a folder that is a Hugging Face Space.")
    parser.add_argument("out", help="the folder: new, empty, or an earlier Space")
    parser.add_argument("--model", help="a model on the Hub to serve on ZeroGPU (default: SmolLM2, on a CPU)")
    options = parser.parse_args()
    try:
        if not options.out:
            raise SpaceError("say where: make space OUT=folder.")
        assemble(Path(options.out), options.model)
    except (SpaceError, OSError) as error:
        sys.exit(f"space: {error}")
    served = f"{options.model} on ZeroGPU" if options.model else "SmolLM2 and Atlas-30L on a CPU"
    print(f"{options.out} is a Space for {served}.")


if __name__ == "__main__":
    main()
