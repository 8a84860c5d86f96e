"""Sentences made of what pydantic finds wrong speak to people: plain names, plain numbers, no words of programmers."""

import math
import re
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dola_core.errors import BY_NUMBER, first_mistake
from dola_core.lanes import DecodingConfig, LinearContrast, lane_kinds
from dola_core.trace.schema import Trace


class SamplePart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alpha: float = Field(0.5, gt=0, le=1, allow_inf_nan=False)
    top_k: int = Field(0, ge=0, lt=2**32)
    kind: Literal["one", "other"] = "one"
    loud: bool = False


class SampleWhole(BaseModel):
    lanes: tuple[SamplePart, ...] = Field((), max_length=3)
    name: str = Field("a", min_length=1, max_length=20_000)
    pieces: dict[int, str] = {}
    number: float = Field(1, ge=1, le=4294967295)
    code: str = Field("a", pattern="^[a-z]+$")
    ratio: float = 0.5

    @field_validator("ratio")
    @classmethod
    def _half(cls, ratio: float) -> float:
        if ratio != 0.5:
            raise ValueError("ratio must be a half.")
        return ratio


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"lanes": [{}, {"alpha": 2}]}, "lane 2, alpha: must be at most 1"),
        ({"lanes": [{"alpha": 0}]}, "lane 1, alpha: must be above 0"),
        ({"lanes": [{"alpha": float("inf")}]}, "lane 1, alpha: must be a finite number"),
        ({"lanes": [{"top_k": 2**33}]}, "lane 1, top_k: must be below 4,294,967,296"),
        ({"lanes": [{"top_k": 1.5}]}, "lane 1, top_k: must be a whole number"),
        ({"lanes": [{"top_k": "x"}]}, "lane 1, top_k: must be a whole number"),
        ({"lanes": [{"kind": "third"}]}, "lane 1, kind: must be 'one' or 'other'"),
        ({"lanes": [{"loud": 5}]}, "lane 1, loud: must be true or false"),
        ({"lanes": [{"beta": 1}]}, "lane 1, beta: is not known here"),
        ({"lanes": [5]}, "lane 1: must be an object with named fields"),
        ({"lanes": [{}] * 4}, "lanes: must have at most 3 entries"),
        ({"lanes": 5}, "lanes: must be a list"),
        ({"pieces": {"x\nforged": ""}}, "pieces: a name in it must be a whole number"),
        ({"pieces": {3: 5}}, "pieces, 3: must be a text"),
        ({"code": "!"}, "code: must match ^[a-z]+$"),
        ({"ratio": 2}, "ratio: must be a half"),
        ({"name": ""}, "name: must have at least 1 character"),
        ({"name": "a" * 30_000}, "name: must have at most 20,000 characters"),
        ({"name": 5}, "name: must be a text"),
        ({"pieces": []}, "pieces: must be an object with named fields"),
        ({"number": 5e9}, "number: must be at most 4,294,967,295"),
        ({"number": 1e300}, "number: must be at most 4,294,967,295"),
        ({"number": "x"}, "number: must be a number"),
    ],
)
def test_a_mistake_is_named_in_plain_words(given, text):
    with pytest.raises(ValidationError) as found:
        SampleWhole(**given)
    assert first_mistake(found.value).text == text


WRONG = ["", "x" * 9999, -1, 2**80, 1e300, math.nan, None, [], [[]], {}, object(), True]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:10])
@pytest.mark.parametrize("field", [*DecodingConfig.model_fields, "unknown"])
def test_no_setting_of_any_kind_gets_a_sentence_of_programmers(field, wrong):
    try:
        DecodingConfig(**{field: wrong})
    except ValidationError as error:
        text = first_mistake(error).text
        assert text.startswith(field)
        assert not re.search(r"Input should|valid (tuple|dict|string)|\de[+-]?\d|^\d", text), text
        assert len(text) < 120


@pytest.mark.parametrize("model", [Trace, DecodingConfig, *lane_kinds().values()], ids=lambda model: model.__name__)
def test_an_entry_for_a_number_is_not_counted_from_one(model):
    assert {name for name, field in model.model_fields.items() if "dict[int" in str(field.annotation)} <= BY_NUMBER


def test_the_layer_of_a_weight_is_named():
    with pytest.raises(ValidationError) as found:
        LinearContrast(weights={3: math.inf})
    assert first_mistake(found.value).text == "weights, 3: must be a finite number"
