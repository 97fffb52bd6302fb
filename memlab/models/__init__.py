"""Token mixers, stacks, ports and models in plain PyTorch: they know neither Hydra nor Lightning."""

from memlab.models.autoencoder import Autoencoder as Autoencoder
from memlab.models.bridge import RepeatBridge as RepeatBridge, UnrollBridge as UnrollBridge
from memlab.models.causal_attention import CausalAttention as CausalAttention
from memlab.models.causal_lm import CausalLM as CausalLM
from memlab.models.chunk_encoder import ChunkEncoder as ChunkEncoder
from memlab.models.language_model import LanguageModel as LanguageModel
from memlab.models.masked_mixing import MaskedMixing as MaskedMixing
from memlab.models.memory_model import MemoryModel as MemoryModel
from memlab.models.mlp import GeluMLP as GeluMLP, SwiGLU as SwiGLU
from memlab.models.ports import Decoder as Decoder, Encoder as Encoder
from memlab.models.recurrent import RecurrentMemoryModel as RecurrentMemoryModel
from memlab.models.rms_norm import RMSNorm as RMSNorm
from memlab.models.stack import Block as Block, Stack as Stack
from memlab.models.stack_decoder import StackDecoder as StackDecoder
from memlab.models.stack_encoder import StackEncoder as StackEncoder
from memlab.models.token_mixer import TokenMixer as TokenMixer
