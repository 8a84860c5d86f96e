"""The page's corner: copy a link, save a trace or a report, open a trace, choose the language."""

from dataclasses import dataclass

import gradio as gr

from app.language import CODES, ENGLISH, Language, language
from app.ui.components import Inbox, Menu, Notice, Outbox
from app.ui.events import Changes


@dataclass(frozen=True)
class Toolbar:
    """The components in the page's corner."""

    language: gr.Radio
    link: gr.Button
    save: Menu
    """Its items are `SAVES`."""
    inbox: Inbox
    outbox: Outbox
    notice: Notice

    def translated(self, words: Language) -> Changes:
        """Their words in another language."""
        return {
            self.link: gr.Button(words("controls.link")),
            self.save: _saves(words),
            **self.arrived(words),
        }

    def arrived(self, words: Language) -> Changes:
        """Tell the browser that the page is in a language, and ready."""
        return {self.inbox: words.section("toolbar") | {"code": words.code}}

    def awaited(self, words: Language) -> dict[str, object]:
        """Ask the browser to ask for the page as the visitor needs it."""
        return words.section("toolbar") | {"arrive": True}

    def failed(self, sentence: str) -> Changes:
        """One sentence instead of what was asked for; what is on the page stays."""
        return {self.notice: {"text": sentence, "tone": "error"}}


SAVES = ("trace", "report", "step_table", "run_table")
"""What can be saved as a file."""


def _saves(words: Language) -> dict[str, object]:
    return {"title": words("controls.save"), "items": [words(f"controls.{name}") for name in SAVES]}


def lay_out_toolbar() -> Toolbar:
    """Lay out the components, in English; outbox and notice are laid out by the page."""
    with gr.Row(elem_classes="duet-share"):
        link = gr.Button(ENGLISH("controls.link"), size="sm", elem_id="link")
        save = Menu(_saves(ENGLISH), elem_id="save")
        inbox = Inbox(ENGLISH.section("toolbar"), elem_id="inbox")
        switch = gr.Radio(
            [(language(code)("page.name"), code) for code in CODES], value="en", label="language", show_label=False,
            elem_id="language", elem_classes="duet-segments", container=False,
        )  # fmt: skip
    return Toolbar(switch, link, save, inbox, Outbox(elem_id="outbox", render=False), Notice(render=False))
