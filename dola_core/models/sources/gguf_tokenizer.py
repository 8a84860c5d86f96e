"""The tokenizer of a GGUF file, which must cut text as the model's own tokenizer did before it learned its tokens.

A GGUF file names the rule by which its byte-level tokenizer cuts (`tokenizer.ggml.pre`) and does not hold the rule.
`transformers` knows some of the names and takes GPT-2's rule for all others, without a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from dola_core.errors import LoadError

BYTE_LEVEL = "gpt2"
"""The kind of tokenizer (`tokenizer.ggml.model`) that cuts text by a named rule."""
OWN_TOKENIZER = "tokenizer.json"
"""A tokenizer beside the GGUF file, which is taken instead of the one in the file."""
PROBE = "\n\n1. It's HE'LL  1776é, x=2;\t\tfoo\r\n你好!\n"
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


def _splits(*patterns: str) -> list[PreTokenizer]:
    return [Split(Regex(pattern), behavior="isolated") for pattern in patterns]


_AS_THEY_ARE = ByteLevel(add_prefix_space=False, use_regex=False)
_GPT_2 = ByteLevel(add_prefix_space=False)
_DIGIT = Digits(individual_digits=True)

RULES = (
    Rule(
        ("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "gigachat", "jina-es", "jina-de", "roberta-bpe"),
        "\n|\n|1|.| It|'s| HE|'|LL| | 1776|é|,| x|=|2|;|\t|\t|foo|\r|\n|你好|!|\n",
    ),
    Rule(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        "\n\n|1|.| It|'s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\t|foo|\r|\n|你好|!|\n",
        Sequence([_DIGIT, _GPT_2]),
    ),
    Rule(
        ("deepseek-llm",),
        "\n|\n|1|.| It|'|s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r|\n|你好|!|\n",
        Sequence([*_splits(r"[\r\n]", LETTERS, PUNCTUATION, r"\s+$", CHINESE), _DIGIT, _AS_THEY_ARE]),
    ),
    Rule(
        ("deepseek-coder",),
        "\n|\n|1|.| It|'|s| HE|'|LL|  |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r|\n|你好|!|\n",
        Sequence([*_splits(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE), _DIGIT, _AS_THEY_ARE]),
    ),
    Rule(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "dbrx", "smaug-bpe"),
        "\n\n|1|.| It|'s| HE|'LL| | |177|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!\n",
    ),
    Rule(
        ("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "qwen35", "tekken"),
        "\n\n|1|.| It|'s| HE|'LL| | |1|7|7|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!\n",
    ),
    Rule(
        ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"),
        "\n\n|1|.| It's| HE'LL| | |177|6|é|,| x|=|2|;|\t|\tfoo|\r\n|你好|!\n",
    ),
)
"""The rules of byte-level tokenizers that are known, by the names that llama.cpp gives them."""


def read_tokenizer(file: Path, fields: Mapping[str, object]) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file with the given `fields`, or the `tokenizer.json` beside it.

    Raises `LoadError` if the file names a rule that is not known here, or if text is not cut by it.
    """
    if file.with_name(OWN_TOKENIZER).is_file():
        return AutoTokenizer.from_pretrained(file.parent, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    if fields.get("tokenizer.ggml.model") != BYTE_LEVEL:
        return tokenizer
    name = str(fields.get("tokenizer.ggml.pre", ""))
    rule = next((rule for rule in RULES if name in rule.names), None)
    if rule is None:
        cuts = f"by the rule {name!r}, which is not known here" if name else "by a rule that it does not name"
        raise LoadError(f"{file} cuts text {cuts}; put the model's {OWN_TOKENIZER} beside the file.")
    if rule.pre_tokenizer is not None:
        tokenizer.backend_tokenizer.pre_tokenizer = rule.pre_tokenizer
    if pieces(tokenizer, PROBE) != rule.pieces.split("|"):
        raise LoadError(
            f"{file} cuts text by the rule {name!r}, which this version of transformers does not follow; put the "
            f"model's {OWN_TOKENIZER} beside the file."
        )
    return tokenizer


def pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """What a byte-level tokenizer cuts `text` into before it looks up tokens."""
    cut = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    return [bytes(_BYTE_OF[c] for c in piece).decode("utf-8", "replace") for piece, _ in cut]


_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
