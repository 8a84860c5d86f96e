"""Chat templates are code that comes with a model: what they write is read, and what they raise ends in a sentence."""

import pytest

from dola_core.errors import PromptError
from dola_core.models.loaded_model import LoadedModel
from tests.dola_core.models.small_tokenizers import BOS, END, EOS, TURN, byte_level, loaded_with

PROMPT = "Hello you"
LOOP = "{% for m in messages %}"
PARTS = "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
ANSWER = "{% if add_generation_prompt %}<|turn|>{% endif %}"

READ = {
    "text": (LOOP + "<|turn|>{{ m.content }}<|end|>{% endfor %}", "<|turn|>Hello you<|end|>"),
    "BOS": (LOOP + "<s>{{ m.content }}{% endfor %}", "<s>Hello you"),
    "two BOS": ("<s><s>" + LOOP + "{{ m.content }}{% endfor %}", "<s>Hello you"),
    "stripped": (LOOP + "{{ m.content | trim }}{% endfor %}", "Hello you"),
    "rewritten": (LOOP + "{{ m.content | upper }}{% endfor %}", "HELLO YOU"),
    "parts": (LOOP + PARTS + "{% endfor %}", "Hello you"),
    "parts, or an error": (
        LOOP + "{% if m.content is string %}{{ raise_exception('parts') }}{% endif %}" + PARTS + "{% endfor %}",
        "Hello you",
    ),
    "an image for each other part": (
        LOOP + "{% for part in m.content %}{{ part.text if part.type == 'text' else '?' }}{% endfor %}{% endfor %}",
        "Hello you",
    ),
    "an end behind the user's turn": (LOOP + "{{ m.content }}</s>{% endfor %}", "Hello you</s>"),
    "nothing undefined that is not used": ("{{ nothing }}" + LOOP + "{{ m.content }}{% endfor %}", "Hello you"),
}  # fmt: skip

REFUSED = {
    "raises": (LOOP + "{{ raise_exception('Only users may speak.') }}{% endfor %}", r"\(Only users may speak\)"),
    "undefined": (LOOP + "{{ strftime_when('%Y') }}{% endfor %}", r"\('strftime_when' is undefined\)"),
    "undefined part": ("{{ messages[0].tools.first }}", r"\('dict object' has no attribute 'tools'\)"),
    "no template": ("{% for %}", r"refuses the prompt \(.+\)"),
    "wrong types": ("{{ messages + 1 }}", r"can only concatenate list"),
    "no number": ("{{ 1 // 0 }}", r"\(.*zero.*\)"),
    "many lines": ("{{ raise_exception('one\ntwo  three') }}", r"\(one two three\)"),
    "endless talk": ("{{ raise_exception('x' * 5000) }}", r"\(x{200}\)"),
    "says nothing": ("{{ raise_exception('') }}", r"\(TemplateError\)"),
}
DROPS = {"without the prompt": "hi", "the roles alone": LOOP + "{{ m.role }}{% endfor %}", "its length alone": LOOP +
         "{{ m.content | length }}{% endfor %}"}  # fmt: skip


def with_template(template: object) -> LoadedModel:
    tokenizer = byte_level(behind="</s>")
    tokenizer.chat_template = template
    return loaded_with(tokenizer)


@pytest.mark.parametrize(("template", "text"), READ.values(), ids=READ)
def test_the_prompt_stands_in_the_chat_as_the_template_wants_it(template, text):
    loaded = with_template(template)
    assert loaded.encode(PROMPT, chat=True) == list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_chat_has_the_ids_that_the_tokenizer_itself_gives_it():
    loaded = with_template(LOOP + "<s><|turn|>{{ m.content }}<|end|>{% endfor %}" + ANSWER)
    chat = [{"role": "user", "content": PROMPT}]
    expected = loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert loaded.encode(PROMPT, chat=True) == expected


@pytest.mark.parametrize(("template", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_template_raises_ends_in_one_sentence_with_its_message(template, said):
    with pytest.raises(PromptError, match=r"^The model's chat template refuses the prompt .*; leave out chat\.$") as e:
        with_template(template).encode(PROMPT, chat=True)
    assert e.match(said)
    assert "\n" not in str(e.value)
    assert e.value.kind == "template"


@pytest.mark.parametrize("template", DROPS.values(), ids=DROPS)
def test_a_template_that_loses_the_prompt_is_refused(template):
    with pytest.raises(PromptError, match=r"^The model's chat template leaves the prompt out; leave out chat\.$"):
        with_template(template).encode(PROMPT, chat=True)


def test_several_templates_without_a_default_end_in_a_sentence():
    with pytest.raises(PromptError, match=r"refuses the prompt \(.*default"):
        with_template({"tools": "{{ 1 }}", "rag": "{{ 2 }}"}).encode(PROMPT, chat=True)


ROLES = "{% if m.role == 'assistant' %}"
TURN_ENDS = {
    "at once": (LOOP + "{{ m.role }}{{ m.content }}<|end|>{% endfor %}", END),
    "after a line break": (LOOP + "{{ m.content }}\n<|end|>\n{% endfor %}", END),
    "behind other text": (LOOP + "{{ m.content }} . <|end|></s>{% endfor %}", END),
    "the usual one": (LOOP + "{{ m.content }}" + ROLES + "</s>{% endif %}{% endfor %}", EOS),
    "of parts": (LOOP + ROLES + "<|turn|>{% endif %}" + PARTS + "<|end|>{% endfor %}", END),
    "the user's next turn": (LOOP + "{% if m.role == 'user' %}<|turn|>{% endif %}{{ m.content }}{% endfor %}", TURN),
    "words before the user's next turn": (
        LOOP + "{{ m.content }}{% if not loop.last %} and then <|turn|>{% endif %}{% endfor %}",
        None,
    ),
    "words alone": (LOOP + "{{ m.role }}: {{ m.content }}{% endfor %}", None),
    "an error": ("{{ raise_exception('no') }}", None),
    "users alone": (LOOP + ROLES + "{{ raise_exception('no') }}{% endif %}{{ m.content }}<|end|>{% endfor %}", None),
    "none": (None, None),
}


@pytest.mark.parametrize(("template", "token"), TURN_ENDS.values(), ids=TURN_ENDS)
def test_the_token_that_ends_the_assistants_turn_ends_a_text(template, token):
    loaded = with_template(template)
    assert set(loaded.eos_ids) == {EOS} | ({token} if token is not None else set())


NAMED = [
    (None, None, None, ()),
    (7, None, None, (7,)),
    ([7, 8], None, None, (7, 8)),
    (0, EOS, 9, (0, EOS, 9)),
    ([7, 10**6], EOS, [8, 7], (7, EOS, 8)),
    (-1, EOS, 10**6, (EOS,)),
    (None, None, 2, (2,)),  # Llama's default, where nothing else is named
    (7, None, 2, (7,)),  # and where it is not
]


@pytest.mark.parametrize(("generation", "tokenizer", "config", "expected"), NAMED)
def test_all_that_is_named_ends_a_text(llama, monkeypatch, generation, tokenizer, config, expected):
    ours = byte_level()
    ours.eos_token = None if tokenizer is None else ours.convert_ids_to_tokens(tokenizer)
    if 2 not in expected:  # the default does not name what the tokenizer holds as special
        monkeypatch.setattr(type(ours), "all_special_ids", property(lambda self: [BOS]))
        monkeypatch.setattr(type(ours), "added_tokens_decoder", property(lambda self: {}))
    monkeypatch.setattr(llama.config, "eos_token_id", config)
    monkeypatch.setattr(llama.generation_config, "eos_token_id", generation)
    assert loaded_with(ours).eos_ids == expected


def test_the_text_part_of_a_model_names_its_end(monkeypatch, janus):
    monkeypatch.setattr(janus.config.text_config, "eos_token_id", 9)
    assert 9 in loaded_with(byte_level(), "janus").eos_ids
