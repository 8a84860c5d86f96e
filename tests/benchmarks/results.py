"""Publish measurements: as a table, in `results.json`, and in a dated section of `RESULTS.md`."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.timing import Ratio

DATA, TEXT = (Path(__file__).with_name(name) for name in ("results.json", "RESULTS.md"))


MARK = "<!-- measured, the newest first -->\n"
"""The line after which the sections follow that are written here."""


@dataclass(frozen=True)
class ResultRow:
    """One figure: the time or memory that `what` takes, as a ratio to that of `against`."""

    model: str
    dtype: str
    what: str
    against: str
    ratio: Ratio
    budget: float | None

    @property
    def verdict(self) -> str:
        """Whether the ratio keeps the budget, as rounded for the table."""
        if self.budget is None:
            return ""
        return "kept" if round(self.ratio.median, 2) <= self.budget else "**missed**"


def machine() -> str:
    """The processor, the threads, and the versions that matter."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(": ")[2] if lines else name
    libraries = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers"))
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{name}, {threads}; {libraries}, Python {platform.python_version()}"


def table(rows: Sequence[ResultRow]) -> str:
    """Markdown."""
    head = "| model | dtype | what | against | ratio (spread) | budget | |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row.model} | {row.dtype} | {row.what} | {row.against} | {row.ratio} | "
        f"{'' if row.budget is None else f'{row.budget:.2f}'} | {row.verdict} |"
        for row in rows
    )


def publish(rows: Sequence[ResultRow], command: str, *, keep: bool = True) -> None:
    """Print what `command` measured as a table, and with `keep` add it to the results, the newest first."""
    publish_table(table(rows), [asdict(row) for row in rows], command, machine(), keep=keep)


def publish_table(shown: str, rows: Sequence[Mapping[str, Any]], command: str, where: str, *, keep: bool) -> None:
    """The same of figures of another kind: `shown` is their table, `where` the machine they were measured on."""
    print(shown)
    if not keep:
        return
    now = datetime.now(UTC)
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.is_file() else {}
    data[command] = {"date": now.isoformat(timespec="seconds"), "machine": where, "rows": list(rows)}
    DATA.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    head, _, older = TEXT.read_text(encoding="utf-8").partition(MARK)
    section = f"\n## {now:%Y-%m-%d}, `{command}`\n\n{where}.\n\n{shown}\n"
    TEXT.write_text(f"{head}{MARK}{section}{older}", encoding="utf-8")
