"""The tokenizer of a GGUF file, which must cut text as the model's own tokenizer did before it learned its tokens.

A GGUF file names the rule by which its byte-level tokenizer cuts (`tokenizer.ggml.pre`) and does not hold the rule.
`transformers` knows some of the names and takes GPT-2's rule for all others, without a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from dola_core.errors import LoadError

BYTE_LEVEL = "gpt2"
"""The kind of tokenizer (`tokenizer.ggml.model`) that cuts text by a named rule."""
OWN_TOKENIZER = "tokenizer.json"
"""A tokenizer beside the GGUF file, which is taken instead of the one in the file."""
PROBE = "\n\n1. It's HE'LL  1776é, x=2;\t\tfoo\r\n你好! iPhone e\u0301x !=\n"
"""A text that the rules below cut in different ways."""
LETTERS = r"\s?[\p{Lu}\p{Ll}\p{Lt}]+"
CHINESE = "[一-龥\u0800-一가-\ud7ff]+"
PUNCTUATION = r"\s?[!-/:-~！-／：-～‘-‟　-。]+"


@dataclass(frozen=True)
class Rule:
    """One way to cut text before tokens are looked up."""

    names: tuple[str, ...]
    """The names that GGUF files give it."""
    pieces: str
    """What it cuts `PROBE` into, with a bar between two pieces."""
    pre_tokenizer: PreTokenizer | None = None
    """What does it; None where `transformers` sets it."""
    as_llama_3: bool = False
    """Whether a piece that is a token is taken as it is, whatever the merges say, and whether a text begins with BOS
    where the file does not say."""


def _splits(*patterns: str) -> list[PreTokenizer]:
    return [Split(Regex(pattern), behavior="isolated") for pattern in patterns]


_AS_THEY_ARE = ByteLevel(add_prefix_space=False, use_regex=False)
_GPT_2 = ByteLevel(add_prefix_space=False)
_DIGIT = Digits(individual_digits=True)

LLAMA_3 = "\n\n|1|.| It|'s| HE|'LL| | |177|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!| iPhone| e|\u0301x| !=\n"
"""What Llama 3's rule cuts `PROBE` into."""
RULES = (
    Rule(
        ("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "gigachat", "jina-es", "jina-de", "roberta-bpe"),
        "\n|\n|1|.| It|'s| HE|'|LL| | 1776|é|,| x|=|2|;|\t|\t|foo|\r|\n|你好|!| iPhone| e|\u0301|x| !=|\n",
    ),
    Rule(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        "\n\n|1|.| It|'s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\t|foo|\r|\n|你好|!| iPhone| e|\u0301|x| !=|\n",
        Sequence([_DIGIT, _GPT_2]),
    ),
    Rule(
        ("deepseek-llm",),
        "\n|\n|1|.| It|'|s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r|\n|你好|!| iPhone| e|\u0301|x| !=|\n",
        Sequence([*_splits(r"[\r\n]", LETTERS, PUNCTUATION, r"\s+$", CHINESE), _DIGIT, _AS_THEY_ARE]),
    ),
    Rule(
        ("deepseek-coder",),
        "\n|\n|1|.| It|'|s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r|\n|你好|!| iPhone| e|\u0301|x| !|=|\n",
        Sequence([*_splits(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE), _DIGIT, _AS_THEY_ARE]),
    ),
    Rule(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
        LLAMA_3,
        as_llama_3=True,
    ),
    Rule(("dbrx", "smaug-bpe"), LLAMA_3),
    Rule(
        ("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"),
        "\n\n|1|.| It|'s| HE|'LL| | |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!| iPhone| e|\u0301x| !=\n",
    ),
    Rule(
        ("qwen35",),
        "\n\n|1|.| It|'s| HE|'LL| | |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!| iPhone| e\u0301x| !=\n",
    ),
    Rule(
        ("tekken",),
        "\n\n|1|.| It|'s| HE|'LL| | |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!| i|Phone| e\u0301x| !=\n",
        as_llama_3=True,
    ),
    Rule(
        ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"),
        "\n\n|1|.| It's| HE'LL| | |177|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!| i|Phone| e\u0301x| !=\n",
    ),
)
"""The rules of byte-level tokenizers that are known, by the names that llama.cpp gives them."""


def read_tokenizer(file: Path, fields: Mapping[str, object]) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file with the given `fields`, or the `tokenizer.json` beside it.

    Raises `LoadError` if `transformers` cannot read the tokenizer, or if the rule that the file names is not known here
    or not followed.
    """
    if file.with_name(OWN_TOKENIZER).is_file():
        return AutoTokenizer.from_pretrained(file.parent, trust_remote_code=False)
    kind = fields.get("tokenizer.ggml.model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        raise LoadError(
            f"{file} holds a tokenizer of the kind {kind!r} that transformers cannot read; put the model's "
            f"{OWN_TOKENIZER} beside the file."
        ) from error
    if kind != BYTE_LEVEL:
        return tokenizer
    name = str(fields.get("tokenizer.ggml.pre", ""))
    rule = next((rule for rule in RULES if name in rule.names), None)
    if rule is None:
        cuts = f"by the rule {name!r}, which is not known here" if name else "by a rule that it does not name"
        raise LoadError(f"{file} cuts text {cuts}; put the model's {OWN_TOKENIZER} beside the file.")
    if not follows(tokenizer, rule):
        raise LoadError(
            f"{file} cuts text by the rule {name!r}, which this version of transformers does not follow; put the "
            f"model's {OWN_TOKENIZER} beside the file."
        )
    if rule.as_llama_3:
        tokenizer.backend_tokenizer.model.ignore_merges = True
        cast(Any, tokenizer).add_bos_token = bool(fields.get("tokenizer.ggml.add_bos_token", True))
    return tokenizer


def follows(tokenizer: PreTrainedTokenizerBase, rule: Rule) -> bool:
    """Let a tokenizer cut text by `rule`; whether it does."""
    if rule.pre_tokenizer is not None:
        tokenizer.backend_tokenizer.pre_tokenizer = rule.pre_tokenizer
    return pieces(tokenizer, PROBE) == rule.pieces.split("|")


def pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """What a byte-level tokenizer cuts `text` into before it looks up tokens."""
    cut = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    return [bytes(_BYTE_OF[c] for c in piece).decode("utf-8", "replace") for piece, _ in cut]


_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
