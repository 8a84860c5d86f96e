"""The tab that completes many prompts: its components."""

from dataclasses import dataclass, fields

import gradio as gr
from gradio.components import Component

from app.inputs.prompt_file import MOST
from app.inputs.question_file import UPLOADS
from app.language import ENGLISH, Language
from app.tabs.prompts.table import ORDERS, table
from app.ui.components import Notice, Rows
from app.ui.events import Changes


@dataclass(frozen=True)
class PromptsTab:
    """The components of the tab."""

    results: gr.State
    """A list of `PromptResult`."""
    title: gr.Markdown
    about: gr.Markdown
    prompts: gr.Textbox
    complete: gr.Button
    upload: gr.UploadButton
    stop: gr.Button
    order: gr.Dropdown
    json_lines: gr.Button
    csv: gr.Button
    notice: Notice
    rows: Rows

    @property
    def outputs(self) -> set[Component]:
        """All of them."""
        return {getattr(self, field.name) for field in fields(self)}

    def translated(self, values: Changes, words: Language) -> Changes:
        """The tab in another language; what was typed and found stays."""
        return {
            self.title: f"## {words('prompts.title')}",
            self.about: words("prompts.about", most=MOST),
            self.prompts: gr.Textbox(label=words("prompts.box"), placeholder=words("prompts.placeholder")),
            self.complete: gr.Button(words("prompts.complete")),
            self.upload: gr.UploadButton(words("prompts.upload")),
            self.stop: gr.Button(words("search.stop")),
            self.json_lines: gr.Button(words("prompts.json_lines")),
            self.csv: gr.Button(words("prompts.csv")),
            self.order: gr.Dropdown(orders(words), value=values[self.order], label=words("prompts.order")),
            self.notice: None,
            self.rows: table(values[self.results], values[self.order], words),
        }


def orders(words: Language) -> list[tuple[str, str]]:
    """The orders that the table can be in."""
    return [(words(f"prompts.by_{name}"), name) for name in ORDERS]


def lay_out_prompts_tab() -> PromptsTab:
    """Lay out the tab, in English, with nothing in it yet."""
    words = ENGLISH
    results = gr.State([])
    title = gr.Markdown(f"## {words('prompts.title')}", elem_classes="duet-title")
    about = gr.Markdown(words("prompts.about", most=MOST), elem_classes="duet-about")
    prompts = gr.Textbox(
        label=words("prompts.box"), placeholder=words("prompts.placeholder"), lines=6, max_lines=14, elem_id="prompts"
    )
    with gr.Row(elem_classes="duet-search"):
        complete = gr.Button(words("prompts.complete"), size="sm", variant="primary", elem_id="complete-prompts")
        upload = gr.UploadButton(words("prompts.upload"), file_types=list(UPLOADS), size="sm", elem_id="prompt-file")
        stop = gr.Button(words("search.stop"), size="sm", visible=False, elem_id="stop-prompts")
    notice = Notice()
    with gr.Row(elem_classes="duet-search"):
        order = gr.Dropdown(
            orders(words), value="number", label=words("prompts.order"), visible=False, elem_id="prompt-order",
            scale=0, min_width=240,
        )  # fmt: skip
        json_lines = gr.Button(words("prompts.json_lines"), size="sm", visible=False, elem_id="prompts-jsonl")
        csv = gr.Button(words("prompts.csv"), size="sm", visible=False, elem_id="prompts-csv")
    rows = Rows(elem_id="prompt-rows")
    return PromptsTab(results, title, about, prompts, complete, upload, stop, order, json_lines, csv, notice, rows)
