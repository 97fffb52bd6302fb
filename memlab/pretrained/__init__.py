"""Pretrained language models of the library transformers as encoders and decoders (docs/pretrained.md)."""

from memlab.pretrained.decoder import PretrainedDecoder
from memlab.pretrained.encoder import PretrainedEncoder

__all__ = ["PretrainedDecoder", "PretrainedEncoder"]
