"""Rows as one HTML file that opens anywhere: a table to sort and to filter, in which a row opens its comparison."""

from collections.abc import Callable, Sequence
from html import escape

from dola_core.display import cut, format_number
from dola_core.many_prompts.rows import PromptRow

LONGEST = 400
"""Characters of a prompt or a text in a cell; the comparison has it whole."""
HEAD = ("#", "prompt", "first difference", "differing", "divergence")
STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --mute: #5f6672; --line: #e3e0da; --paper: #fbfaf8; --mark: #f3e6d3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --mute: #a2a8b3; --line: #3a3f47; --paper: #17191d; --mark: #3b3120; } }
body { margin: 24px; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; } p { color: var(--mute); }
input { font: inherit; padding: 4px 8px; min-width: 20em; color: inherit; background: none;
  border: 1px solid var(--line); border-radius: 6px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 6px 10px; text-align: left; vertical-align: top; }
td { white-space: pre-wrap; overflow-wrap: anywhere; } td.n, th.n { text-align: right; white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid; }
tr.row { cursor: pointer; } tr.row:hover, tr.row:focus-visible { background: var(--mark); }
tr.view > td { white-space: normal; }
"""
SCRIPT = """
const body = document.querySelector("tbody"), rows = [...document.querySelectorAll("tr.row")];
const views = new Map(rows.map(row => [row, row.nextElementSibling]));
const show = list => body.replaceChildren(...list.flatMap(row => [row, views.get(row)]));
document.querySelectorAll("th button").forEach((button, column) => button.onclick = () => {
  const th = button.parentElement, up = th.getAttribute("aria-sort") === "descending";
  document.querySelectorAll("th").forEach(each => each.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.children[column].dataset.sort ?? row.children[column].textContent;
  rows.sort((a, b) => (up ? 1 : -1) * key(a).localeCompare(key(b), undefined, { numeric: true }));
  show(rows);
});
document.querySelector("input").oninput = event => {
  const sought = event.target.value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const is = row.textContent.toLowerCase().includes(sought);
    row.hidden = !is;
    if (!is) views.get(row).hidden = true;
    shown += is;
  }
  document.querySelector("#shown").textContent = `${shown} of ${rows.length}`;
};
const toggle = row => {
  const view = views.get(row), cell = view.firstElementChild;
  const kept = cell.querySelector("template");
  kept?.replaceWith(kept.content);
  view.hidden = !view.hidden;
  row.setAttribute("aria-expanded", String(!view.hidden));
};
rows.forEach(row => {
  row.onclick = () => getSelection().toString() || toggle(row);
  row.onkeydown = event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(row); } };
});
"""


def table_page(title: str, rows: Sequence[PromptRow], view_of: Callable[[int], str | None]) -> str:
    """The page. `view_of` returns the comparison of a prompt, by its number, as HTML, or None where none was kept.

    Everything else is escaped. The page asks no address for anything.
    """
    lanes = list(dict.fromkeys(name for row in rows for name in row.texts))
    numbers = (HEAD[0], *HEAD[2:])
    head = "".join(
        f'<th class="{"n" if name in numbers else "t"}"><button>{escape(name)}</button></th>'
        for name in (*HEAD, *lanes)
    )
    body = "".join(_row(row, lanes, view_of(row.number)) for row in rows)
    differ = sum(row.differing > 0 for row in rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{len(rows):,} prompts; on {differ:,} the lanes choose differently. "
        "Click on a head to sort, on a row to see its comparison.</p>"
        f'<p><label>Only rows with <input type="search"></label> <span id="shown">{len(rows)} of {len(rows)}</span></p>'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<script>{SCRIPT}</script></html>"
    )


def _row(row: PromptRow, lanes: Sequence[str], view: str | None) -> str:
    first = "" if row.first_difference is None else f"{row.first_difference:,}"
    divergence = "" if row.mean_divergence is None else format_number(row.mean_divergence)
    cells = [
        _number(f"{row.number:,}", row.number),
        f"<td>{escape(cut(row.prompt, LONGEST))}</td>",
        _number(first, row.first_difference or 0),
        _number("" if row.error else f"{row.differing:,}", row.differing),
        _number(divergence, row.mean_divergence or 0),
    ]
    if row.error:
        cells.append(f'<td colspan="{max(len(lanes), 1)}">{escape(row.error)}</td>')
    else:
        cells += [f"<td>{escape(cut(row.texts.get(name, ''), LONGEST))}</td>" for name in lanes]
    shown = f"<template>{view}</template>" if view is not None else "No comparison was kept of this prompt."
    return (
        f'<tr class="row" tabindex="0" aria-expanded="false">{"".join(cells)}</tr>'
        f'<tr class="view" hidden><td colspan="{len(HEAD) + max(len(lanes), 1)}">{shown}</td></tr>'
    )


def _number(text: str, value: float) -> str:
    return f'<td class="n" data-sort="{value}">{text}</td>'
