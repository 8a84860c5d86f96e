"""The page's corner: copy a link, save a trace or a report, open a trace, choose the language."""

from dataclasses import dataclass

import gradio as gr

from app.language import CODES, ENGLISH, Language, language
from app.ui.components import Inbox, Outbox
from app.ui.events import Changes


@dataclass(frozen=True)
class Toolbar:
    """The components in the page's corner."""

    language: gr.Radio
    link: gr.Button
    trace: gr.Button
    report: gr.Button
    inbox: Inbox
    outbox: Outbox

    def translated(self, words: Language) -> Changes:
        """Their words in another language."""
        return {getattr(self, name): gr.Button(words(f"controls.{name}")) for name in ("link", "trace", "report")} | {
            self.inbox: words.section("toolbar") | {"code": words.code}
        }


def lay_out_toolbar() -> Toolbar:
    """Lay out the components, in English."""
    with gr.Row(elem_classes="duet-share"):
        link, trace, report = (
            gr.Button(ENGLISH(f"controls.{name}"), size="sm", elem_id=name) for name in ("link", "trace", "report")
        )
        inbox = Inbox(ENGLISH.section("toolbar"), elem_id="inbox")
        switch = gr.Radio(
            [(language(code)("page.name"), code) for code in CODES], value="en", label="language", show_label=False,
            elem_id="language", elem_classes="duet-segments", container=False,
        )  # fmt: skip
    return Toolbar(switch, link, trace, report, inbox, Outbox(elem_id="outbox"))
