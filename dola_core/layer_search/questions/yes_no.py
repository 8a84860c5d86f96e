"""Questions that are answered by yes or no, as POPE and benchmarks like it publish them: one JSON object a line.

`{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in the image?", "label":
"yes"}`. The question may also be called `question`, and what is right `answer`. Fields that are not named here may
stand beside them.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

OTHER_NAMES = (("text", "question"), ("label", "answer"))
"""The names of the question, and of what is right."""
OWN_FIELDS = frozenset({"prompt", "answers", "wrong"})
"""Fields of the project's own format, which questions of this one have not."""


def not_blank(text: str) -> str:
    """The text, if it holds anything but white space."""
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _folded(label: object) -> object:
    return label.strip().removesuffix(".").casefold() if isinstance(label, str) else label


class YesNoQuestion(BaseModel):
    """One question of such a file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Nobody makes one by arguments, whose names the checker misses.
    text: Annotated[str, AfterValidator(not_blank)] = Field(  # type: ignore[pydantic-alias]
        validation_alias=AliasChoices(*OTHER_NAMES[0])
    )
    label: Annotated[Literal["yes", "no"], BeforeValidator(_folded)] = Field(  # type: ignore[pydantic-alias]
        validation_alias=AliasChoices(*OTHER_NAMES[1])
    )
    image: Annotated[str, AfterValidator(not_blank)] | None = None
    category: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the `Item` that it becomes. Questions about one image are not independent of each other."""
        right, wrong = ("Yes", "No") if self.label == "yes" else ("No", "Yes")
        about = {} if self.image is None else {"image": self.image, "entity": self.image}
        return {"prompt": self.text, "answers": (right,), "wrong": (wrong,), "domain": self.category, **about}


def is_yes_no(text: str) -> bool:
    """Whether the first line of a JSON Lines file is a question to be answered by yes or no."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    try:
        question = json.loads(first)
    except (ValueError, RecursionError):
        return False
    names = {name for names in OTHER_NAMES for name in names}
    return isinstance(question, Mapping) and bool(names & set(question)) and not OWN_FIELDS & set(question)
