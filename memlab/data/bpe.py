"""Byte-level byte-pair encoding, trained on the training split."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from memlab.data.codec import Tokenizer
from memlab.data.text_files import digest_of
from memlab.errors import UserError

if TYPE_CHECKING:
    import numpy
    import tokenizers

SPECIALS = ("<blank>", "<delimiter>")
SMALLEST_VOCAB = 256 + len(SPECIALS)


class BytePairEncoding(Tokenizer):
    """Byte-level byte-pair encoding (Sennrich et al. 2016, on bytes as in GPT-2), without a prefix space.

    vocab: number of ids: the special tokens, the 256 bytes and the merges. Raises UserError for fewer than 258.
    """

    blank = 0
    delimiter = 1

    def __init__(self, *, vocab: int) -> None:
        if not isinstance(vocab, int) or isinstance(vocab, bool) or vocab < SMALLEST_VOCAB:
            raise UserError(
                f"tokenizer.vocab={vocab}: 256 bytes and {len(SPECIALS)} special tokens need a whole number of at least"
                f" {SMALLEST_VOCAB}"
            )
        self.vocab = vocab

    def content_hash(self) -> str:
        # The library's version counts: it decides which of two pairs that are equally frequent is merged first.
        return digest_of([self.vocab, *SPECIALS, version("tokenizers")])

    def fit(self, batches: Iterator[list[str]]) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(batches, trainer)
        reached = tokenizer.get_vocab_size()
        if reached < self.vocab:
            raise UserError(
                f"tokenizer.vocab={self.vocab} is larger than this text supports: its pairs are used up at {reached}."
                f" Choose at most {reached}, or more text"
            )
        assert [tokenizer.token_to_id(token) for token in SPECIALS] == [self.blank, self.delimiter]
        return tokenizer

    def byte_lengths(self, tokenizer: "tokenizers.Tokenizer") -> "numpy.ndarray":
        import numpy

        names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
        # In byte-level BPE a token is written with one character per byte.
        return numpy.array([0 if name in SPECIALS else len(str(name)) for name in names], dtype=numpy.int32)
