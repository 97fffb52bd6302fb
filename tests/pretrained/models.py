"""Tiny random pretrained models of the real classes, with tokenizers of their own, saved as folders."""

import json
from pathlib import Path
from typing import Any

import torch

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDPIECE_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_llama(folder: Path, *, seed: int = 0, vocab: int = 300, tied: bool = True, **more: Any) -> Path:
    """Save a Llama of 3 layers with a byte-level BPE of `vocab` ids, as SmolLM2 has it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    values = {**SMALL, "num_key_value_heads": 1, "max_position_embeddings": 256, "tie_word_embeddings": tied, **more}
    LlamaForCausalLM(LlamaConfig(vocab_size=vocab, initializer_range=0.3, **values)).save_pretrained(folder)
    return _with_tokenizer(folder, _byte_level(vocab))


def save_bert(folder: Path, *, seed: int = 0, vocab: int = 120, **more: Any) -> Path:
    """Save a BERT of 3 layers without a language-model head, with a WordPiece of `vocab` ids that cuts off and pads."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    values = {**SMALL, "max_position_embeddings": 64, "hidden_dropout_prob": 0.3, **more}
    BertModel(BertConfig(vocab_size=vocab, initializer_range=0.3, **values)).save_pretrained(folder)
    return _with_tokenizer(folder, _wordpiece(vocab))


def _with_tokenizer(folder: Path, tokenizer: Any) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _byte_level(vocab: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = {name: i for i, name in enumerate(alphabet)}
    merges = []
    for left in "abcdefgilnorstu":
        for right in "aeiou":
            if len(ids) < vocab:
                ids[left + right] = len(ids)
                merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    assert tokenizer.get_vocab_size() == vocab
    return tokenizer


def _wordpiece(vocab: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    names = [
        *WORDPIECE_SPECIALS,
        *letters,
        *(f"##{letter}" for letter in letters),
        *".,:;()[]{}=+-*/_#<>!?'\"%&|^~@$\\",
    ]
    names += [f"word{i}" for i in range(vocab - len(names))]
    model = models.WordPiece(vocab={name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(WORDPIECE_SPECIALS))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    assert tokenizer.get_vocab_size() == vocab
    return tokenizer


def change(folder: Path) -> None:
    """Change one number of a model's config, which leaves its size alone."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "initializer_range": 0.25}, indent=2))
