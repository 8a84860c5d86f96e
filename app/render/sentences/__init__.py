"""Whole sentences about a trace: about the step looked at, and about the texts."""

from app.render.sentences.step import step_sentence
from app.render.sentences.texts import difference_sentence, ended_at_once, settings_sentence
from app.render.sentences.why import why_sentence
from app.render.sentences.writing import Part, say

__all__ = [
    "Part",
    "difference_sentence",
    "ended_at_once",
    "say",
    "settings_sentence",
    "step_sentence",
    "why_sentence",
]
