"""Train the byte-level BPE tokenizer: it encodes any text, and decoding returns the text unchanged."""

from collections.abc import Iterable, Iterator
from itertools import islice

from corpus import documents
from facts import TABLES, entities
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCABULARY = 6144
CONTEXT = 512


def training_text(seed: int, count: int) -> Iterator[str]:
    """`count` documents, and every name some more times so that it becomes few tokens."""
    yield from islice(documents(f"tokenizer {seed}"), count)
    for kind in TABLES:
        for entity in entities(kind):
            facts = " ".join(fact for answers in entity.facts.values() for fact in answers)
            yield from [f" {entity.name} {facts}"] * 20
            yield from [f" {entity.name} {facts}".lower()] * 5


def train_tokenizer(texts: Iterable[str], *, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts `<s>` first and encodes special tokens inside a text as plain text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def build_tokenizer(seed: int, *, count: int = 60_000) -> PreTrainedTokenizerFast:
    """The tokenizer of the atlas, trained on documents drawn apart from those of the model."""
    return train_tokenizer(training_text(seed, count))
