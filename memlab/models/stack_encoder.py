"""An encoder made of a token table and a stack (shapes: see base.py)."""

from collections.abc import Callable

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import make_embedding, require_positive
from memlab.models.ports import FLOAT_BITS, Encoder
from memlab.models.stack import Stack


class StackEncoder(Encoder):
    """Memories are the stack's outputs at the last M positions before the last `skip` ones.

    length: tokens per chunk. stack: factory (length) -> Stack.
    skip: 1 for a mixer trained on next-token prediction only, whose row L-1 was never trained.
    compression: c > 1 passes memories through two biased linears D -> D/c -> D without a nonlinearity, so that D/c
        floats per memory are what must be stored.
    channel: a module that the D/c floats pass through before they are stored, such as Quantise; None: nothing.
    read_layers: read after the first n blocks, without the final norm; the other blocks are kept (another run's weights
        fit) but not trained. None: all blocks, and the norm.
    Raises UserError for values that do not fit each other, and for chunks that are too short.
    """

    def __init__(
        self,
        *,
        vocab: int,
        length: int,
        stack: Callable[[int], Stack],
        memories: int = 1,
        skip: int = 0,
        compression: int = 1,
        channel: nn.Module | None = None,
        embedding_std: float = 0.02,
        read_layers: int | None = None,
    ) -> None:
        super().__init__()
        require_positive(vocab=vocab, length=length, memories=memories, compression=compression)
        if skip < 0:
            raise UserError(f"skip={skip}: choose 0 (the last position) or more.")
        self.stack = stack(length)
        self.width = self.stack.width
        if self.width % compression:
            raise UserError(f"compression={compression} must divide the encoder's width={self.width}.")
        layers = len(self.stack.blocks)
        if read_layers is not None and not 1 <= read_layers <= layers:
            raise UserError(f"read_layers={read_layers}: choose 1 to {layers}, or null for all.")
        self.memories = memories
        self.skip = skip
        self.read_layers = read_layers
        self._require_chunk(length)
        narrow = self.width // compression
        self.memory_floats = memories * narrow
        self.embedding = make_embedding(vocab, self.width, embedding_std)
        self.float_bits = getattr(channel, "bits", FLOAT_BITS)
        stored = [] if channel is None else [channel]
        self.narrows = int(compression > 1)  # modules of `compression` in front of what is stored
        if compression > 1:
            stored = [nn.Linear(self.width, narrow), *stored, nn.Linear(narrow, self.width)]
        self.compression = nn.Sequential(*stored)
        if read_layers is not None:
            self.stack.blocks[read_layers:].requires_grad_(False)
            self.stack.norm.requires_grad_(False)

    def forward(self, tokens_RL: Tensor) -> Tensor:
        return self.compression(self._outputs(tokens_RL))

    def store(self, tokens_RL: Tensor) -> Tensor:
        return self.compression[: self.narrows](self._outputs(tokens_RL))

    def recall(self, stored_RMd: Tensor) -> Tensor:
        return self.compression[self.narrows :](stored_RMd)

    def _outputs(self, tokens_RL: Tensor) -> Tensor:
        """Return what the stack makes of the positions that are read, (R, M, D)."""
        self._require_chunk(tokens_RL.shape[1])
        end = tokens_RL.shape[1] - self.skip
        vectors_RLD = self.embedding(tokens_RL)
        return self.stack(vectors_RLD, end - self.memories, end, self.read_layers)

    def _require_chunk(self, length: int) -> None:
        if length < self.memories + self.skip:
            raise UserError(
                f"A chunk of {length} tokens is too short for memories={self.memories} with skip={self.skip}:"
                " lengthen the chunk or take fewer memories."
            )
