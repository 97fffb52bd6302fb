"""Stacks and models in plain PyTorch: they know neither Hydra nor Lightning."""

from memlab.models.autoencoder import Autoencoder
from memlab.models.base import LanguageModel, Stack
from memlab.models.bridge import RepeatBridge, UnrollBridge
from memlab.models.causal_lm import CausalLM
from memlab.models.chunk_encoder import ChunkEncoder
from memlab.models.encoder import Encoder
from memlab.models.memory_model import MemoryModel, decoder_length
from memlab.models.mixer import MixerStack
from memlab.models.recurrent import RecurrentMemoryModel
from memlab.models.transformer import TransformerStack

__all__ = [
    "Autoencoder",
    "CausalLM",
    "ChunkEncoder",
    "Encoder",
    "LanguageModel",
    "MemoryModel",
    "MixerStack",
    "RecurrentMemoryModel",
    "RepeatBridge",
    "Stack",
    "TransformerStack",
    "UnrollBridge",
    "decoder_length",
]
