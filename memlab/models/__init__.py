"""Token mixers, stacks, ports and models in plain PyTorch: they know neither Hydra nor Lightning."""

from memlab.models.autoencoder import Autoencoder
from memlab.models.bridge import RepeatBridge, UnrollBridge
from memlab.models.causal_attention import CausalAttention
from memlab.models.causal_lm import CausalLM
from memlab.models.channel import GaussianNoise, Quantise
from memlab.models.chunk_encoder import ChunkEncoder
from memlab.models.language_model import LanguageModel
from memlab.models.masked_mixing import MaskedMixing
from memlab.models.memory_model import MemoryModel
from memlab.models.mlp import GeluMLP, SwiGLU
from memlab.models.oracle import OracleMemoryModel
from memlab.models.ports import Decoder, Encoder
from memlab.models.recurrent import RecurrentMemoryModel
from memlab.models.rms_norm import RMSNorm
from memlab.models.stack import Block, Stack
from memlab.models.stack_decoder import StackDecoder
from memlab.models.stack_encoder import StackEncoder
from memlab.models.token_mixer import TokenMixer

__all__ = [
    "Autoencoder",
    "Block",
    "CausalAttention",
    "CausalLM",
    "ChunkEncoder",
    "Decoder",
    "Encoder",
    "GaussianNoise",
    "GeluMLP",
    "LanguageModel",
    "MaskedMixing",
    "MemoryModel",
    "OracleMemoryModel",
    "Quantise",
    "RMSNorm",
    "RecurrentMemoryModel",
    "RepeatBridge",
    "Stack",
    "StackDecoder",
    "StackEncoder",
    "SwiGLU",
    "TokenMixer",
    "UnrollBridge",
]
