"""Operations of one step of memlab's side, from the sizes alone: matrix products, 2 operations per multiply-add.

Rows are what the fast path computes: distinct chunks in the encoder, scored chunks in the decoder, the last block of an
encoder at the memory's position, the head at scored positions. Causal products count whole, as they are computed.
A product costs as much again for each of the two gradients that it passes on.
"""

from memlab.bench.cases import Case, Size

MLP_FACTOR, INNER_FACTOR = 4, 4  # inner width of GeluMLP and of SwiGLU over D
FORWARD, TRAINED = 1, 3  # forward alone; with the gradients of both factors


def operations(case: Case, phase: str) -> float:
    """Return the operations of one batch. `forward` has logits of whole chunks, the loss those of scored positions."""
    size = case.size
    times = TRAINED if phase in ("step", "forward_backward") else FORWARD
    shift = 0 if phase == "forward" or case.model == "autoencoder" else 1
    heads = 0 if case.architecture == "mixer" else size.heads  # of decoders
    if case.model == "autoencoder":
        encoder = _stack(case.architecture, size, size.heads, size.batch, size.length, 1)
        bridge = size.batch * size.length * size.width * size.width  # D/2 -> D
        decoder = _stack(case.architecture, size, size.heads, size.batch, size.length, size.length)
        return times * (encoder + bridge + decoder + _head(case, 1, shift))
    half = size.chunks // 2
    rows, scored = {
        "clm": ((size.chunks - 1) * size.batch, (size.chunks,)),
        "copy": (min(half, size.chunks - 1) * size.batch, (half,)),
        "blank_copy": (half * size.batch + (half > 1), (half,)),
        # The delimited chunk is read from the second scored copy pass on.
        "combined": ((size.chunks - 1 + (half > 1)) * size.batch, (size.chunks, half)),
    }[case.objective]
    passes, positions = {
        "full_context": (len(scored), size.chunks * size.length),
        "recurrent": (len(scored) * size.chunks, size.length + 2),  # a slot to read and a slot to write
        "memory": (sum(scored), size.chunks + size.length),
    }[case.model]
    total = times * _stack(case.architecture, size, heads, passes * size.batch, positions, positions)
    total += times * sum(_head(case, chunks, shift) for chunks in scored)
    if case.model != "memory":
        return total
    if case.encoder in ("trainable", "frozen"):
        share = times if case.encoder == "trainable" else FORWARD
        total += share * _stack(case.architecture, size, size.heads, rows, size.length, 1)
    elif case.encoder == "frozen_cached" and case.objective in ("blank_copy", "combined") and half > 1:
        rows = 1 if case.objective == "blank_copy" else size.batch  # what is not a chunk of the window
        total += FORWARD * _stack(case.architecture, size, size.heads, rows, size.length, 1)
    return total


def _head(case: Case, chunks: int, shift: int) -> float:
    size = case.size
    return 2.0 * size.batch * chunks * (size.length - shift) * size.width * size.vocab


def _stack(architecture: str, size: Size, heads: int, rows: int, positions: int, kept: int) -> float:
    """Return the forward products of a stack whose last block computes `kept` positions."""
    width, layers = size.width, size.layers
    block = _mixer_block if architecture == "mixer" else _transformer_block
    whole = block(width, heads, positions, positions)
    return 2.0 * rows * ((layers - 1) * whole + block(width, heads, positions, kept))


def _mixer_block(width: int, heads: int, positions: int, kept: int) -> int:
    mixing = kept * positions * width
    projections = (positions + kept) * width * width if heads else 0
    return mixing + projections + 2 * MLP_FACTOR * width * width * kept


def _transformer_block(width: int, heads: int, positions: int, kept: int) -> int:
    projections = (2 * positions + 2 * kept) * width * width
    attention = 2 * kept * positions * width
    return projections + attention + 3 * INNER_FACTOR * width * width * kept
