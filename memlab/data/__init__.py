"""Text to windows of tokens: sources of documents, tokenizers, the prepared (tokenised and cached) corpus, batches.

Importing this package imports no torch, datasets, tokenizers, pyarrow or numpy. The batches are in
`memlab.data.module`, which imports torch.
"""

from memlab.data.bpe import BytePairEncoding
from memlab.data.codec import TextCodec, Tokenizer, load_tokenizer
from memlab.data.hub import Hub
from memlab.data.prepare import Prepared, data_hash, held_out_hash, prepare, prepare_held_out
from memlab.data.pretrained import PretrainedTokenizer
from memlab.data.python_docs import PythonDocs
from memlab.data.source import Document, Source
from memlab.data.text_files import PythonSource, TextFiles
from memlab.data.uniform_random import UniformRandom

__all__ = [
    "BytePairEncoding",
    "Document",
    "Hub",
    "Prepared",
    "PretrainedTokenizer",
    "PythonDocs",
    "PythonSource",
    "Source",
    "TextCodec",
    "TextFiles",
    "Tokenizer",
    "UniformRandom",
    "data_hash",
    "held_out_hash",
    "load_tokenizer",
    "prepare",
    "prepare_held_out",
]
