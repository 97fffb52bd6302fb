"""The token tables as the science has them: C = 2, L = 4 (x data, _ blank, # delimiter, . no loss)."""

from typing import Any

import pytest
import torch

from memlab.objectives import (
    BLANKS,
    IGNORE,
    Autoencode,
    BlankCopy,
    CausalLanguageModelling,
    Combined,
    Copy,
    Draw,
    Layout,
    Objective,
    Table,
)

BLANK, DELIMITER, X0 = 0, 1, 10
IDS = {"blank": BLANK, "delimiter": DELIMITER}
NAMES = {BLANK: "_", DELIMITER: "#", IGNORE: "."} | {X0 + i: f"x{i}" for i in range(32)}


def drawn(objective: Objective, **options: Any) -> list[Table]:
    """Tables of two windows x0 x1 ..., so that a mix-up of rows shows."""
    size = objective.window(Layout(2, 4))
    row = torch.arange(X0, X0 + size)
    return objective.tables(torch.stack((row, row.flip(0))), Layout(2, 4), **options)


def text(ids_CL: torch.Tensor) -> str:
    return " | ".join(" ".join(NAMES[i] for i in chunk) for chunk in ids_CL.tolist())


PUBLISHED = [
    (
        CausalLanguageModelling(**IDS),
        [("x0 x1 x2 x3 | x4 x5 x6 x7", ". x1 x2 x3 | . x5 x6 x7", (0, 1))],
    ),
    (Autoencode(**IDS), [("x0 x1 x2 x3", "x0 x1 x2 x3", (0,))]),
    (Copy(**IDS), [("x0 x1 x2 x3 | x0 x1 x2 x3", ". . . . | . x1 x2 x3", (1,))]),
    (BlankCopy(**IDS), [("x0 x1 x2 x3 | _ _ _ _", ". . . . | . x1 x2 x3", (1,))]),
    (
        Combined(**IDS),
        [
            ("x0 x1 x2 x3 | x4 x5 x6 x7", ". x1 x2 x3 | . x5 x6 x7", (0, 1)),
            ("x0 x1 x2 x3 | # # # x3", ". . . . | . . . x3", (1,)),
        ],
    ),
    (Copy(**IDS, delimiter_tokens=True), [("x0 x1 x2 x3 | # # # x3", ". . . . | . . . x3", (1,))]),
]


@pytest.mark.parametrize(("objective", "expected"), PUBLISHED, ids=lambda value: getattr(value, "name", ""))
def test_tables_are_the_published_ones(objective: Objective, expected: list[tuple[str, str, tuple[int, ...]]]) -> None:
    made = [(text(t.inputs_BCL[0]), text(t.labels_BCL[0]), tuple(t.scored)) for t in drawn(objective)]
    assert made == expected


def test_combined_training_may_hide_what_it_copies() -> None:
    objective, shown = Combined(**IDS, blank_copy=True), Combined(**IDS)
    clm, copy = drawn(objective, draw=Draw(0.5, torch.Generator()))
    assert (text(copy.inputs_BCL[0]), text(copy.labels_BCL[0])) == ("x0 x1 x2 x3 | # # # _", ". . . . | . . . x3")
    assert torch.equal(clm.inputs_BCL, drawn(shown)[0].inputs_BCL)
    for hidden, plain in zip(drawn(objective), drawn(shown), strict=True):
        assert torch.equal(hidden.inputs_BCL, plain.inputs_BCL), "evaluation shows the tokens"


@pytest.mark.parametrize("objective", [objective for objective, _ in PUBLISHED], ids=lambda value: value.name)
def test_rows_are_laid_out_independently(objective: Objective) -> None:
    size = objective.window(Layout(2, 4))
    tokens = torch.arange(X0, X0 + 2 * size).view(2, size)
    both = objective.tables(tokens, Layout(2, 4))
    alone = objective.tables(tokens[1:], Layout(2, 4))
    for table, single in zip(both, alone, strict=True):
        assert torch.equal(table.inputs_BCL[1:], single.inputs_BCL)
        assert torch.equal(table.labels_BCL[1:], single.labels_BCL)


@pytest.mark.parametrize("objective", [objective for objective, _ in PUBLISHED], ids=lambda value: value.name)
def test_data_is_not_written_to(objective: Objective) -> None:
    tokens = torch.arange(X0, X0 + objective.window(Layout(4, 6))).view(1, -1)
    before = tokens.clone()
    objective.tables(tokens, Layout(4, 6))
    assert torch.equal(tokens, before)


@pytest.mark.parametrize("hand_over", [0.0, 0.5])
@pytest.mark.parametrize("objective", [objective for objective, _ in PUBLISHED], ids=lambda value: value.name)
def test_chunks_of_one_name_hold_the_same_tokens(objective: Objective, hand_over: float) -> None:
    """What memories.py relies on; of a hand-over too, which changes tokens at random."""
    if isinstance(objective, Copy):
        objective = Copy(**IDS, delimiter_tokens=objective.delimiter_tokens, hand_over=hand_over)
    tokens = torch.arange(X0, X0 + 3 * objective.window(Layout(4, 6))).view(3, -1)
    window = tokens.view(3, -1, 6)
    named = {f"x{chunk}": window[:, chunk] for chunk in range(window.shape[1])}
    named[BLANKS] = torch.full_like(window[:, 0], BLANK)
    for table in objective.tables(tokens, Layout(4, 6), Draw(0.1, torch.Generator().manual_seed(0))):
        assert len(table.content) in (0, table.inputs_BCL.shape[1])
        for chunk, name in enumerate(table.content):
            assert torch.equal(table.inputs_BCL[:, chunk], named.setdefault(name, table.inputs_BCL[:, chunk]))


DRAWN_CONTENT = [
    (CausalLanguageModelling(**IDS), ["x0 x1 x2 x3"]),
    (Copy(**IDS), ["x0 x1 x0 x1"]),
    (Copy(**IDS, delimiter_tokens=True), ["x0 x1 # x1"]),
    (BlankCopy(**IDS), ["x0 x1 _ _"]),
    (Combined(**IDS), ["x0 x1 x2 x3", "x0 x1 # x1"]),
]


@pytest.mark.parametrize(("objective", "expected"), DRAWN_CONTENT, ids=lambda value: getattr(value, "name", ""))
def test_equal_chunks_are_named_alike(objective: Objective, expected: list[str]) -> None:
    tables = objective.tables(torch.arange(X0, X0 + objective.window(Layout(4, 6))).view(1, -1), Layout(4, 6))
    assert [" ".join(table.content) for table in tables] == expected


PADDED = [
    (CausalLanguageModelling(**IDS), ["x0 x1 x2 x3 | x4 _ _ _", ". x1 x2 x3 | . . . ."]),
    (Copy(**IDS), ["x0 x1 _ _ | x0 x1 _ _", ". . . . | . x1 . ."]),
    (BlankCopy(**IDS), ["x0 x1 _ _ | _ _ _ _", ". . . . | . x1 . ."]),
    (Combined(**IDS), ["x0 x1 x2 x3 | x4 _ _ _", ". x1 x2 x3 | . . . ."]),
    (Autoencode(**IDS), ["x0 x1 _ _", "x0 x1 . ."]),
]


@pytest.mark.parametrize(("objective", "expected"), PADDED, ids=lambda value: getattr(value, "name", ""))
def test_padding_is_read_and_not_scored(objective: Objective, expected: list[str]) -> None:
    """A document shorter than the window, filled with blanks."""
    size = objective.window(Layout(2, 4))
    tokens = torch.arange(X0, X0 + size).view(1, -1)
    tokens[:, 5 if size == 8 else 2 :] = BLANK
    table = objective.tables(tokens, Layout(2, 4))[0]
    assert [text(table.inputs_BCL[0]), text(table.labels_BCL[0])] == expected


def test_delimiter_overwrites_three_tokens_of_the_half_not_of_each_chunk() -> None:
    table = Copy(**IDS, delimiter_tokens=True).tables(torch.arange(X0, X0 + 8).view(1, -1), Layout(4, 4))[0]
    assert text(table.inputs_BCL[0]) == "x0 x1 x2 x3 | x4 x5 x6 x7 | # # # x3 | x4 x5 x6 x7"
    assert text(table.labels_BCL[0]) == ". . . . | . . . . | . . . x3 | . x5 x6 x7"
    assert table.scored == range(2, 4)


@pytest.mark.parametrize(
    ("objective", "tokens"),
    [(Autoencode, 8), (CausalLanguageModelling, 32), (Combined, 32), (Copy, 16), (BlankCopy, 16)],
)
def test_windows_hold_the_tokens_of_data_a_row_needs(objective: type[Objective], tokens: int) -> None:
    assert objective(**IDS).window(Layout(4, 8)) == tokens


@pytest.mark.parametrize("objective", [Copy, BlankCopy, Combined])
@pytest.mark.parametrize(("chunks", "length"), [(3, 4), (1, 4), (0, 4), (2, 3)])
def test_copying_refuses_odd_chunks_and_short_ones(objective: type[Objective], chunks: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"even number|at least 4"):
        objective(**IDS).window(Layout(chunks, length))


def test_windows_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 8 tokens, not 7"):
        CausalLanguageModelling(**IDS).tables(torch.zeros(1, 7, dtype=torch.long), Layout(2, 4))


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (0.125, 0.75), (0.25, 0.5), (0.5, 0.0), (1.0, 0.0)])
def test_hand_over_blanks_a_share_that_falls_to_nothing(progress: float, share: float) -> None:
    tokens = torch.randint(X0, 500, (64, 128))
    generator = torch.Generator().manual_seed(0)
    objective = Copy(**IDS, hand_over=0.5)
    table = objective.tables(tokens, Layout(16, 16), Draw(progress, generator))[0]
    first, second = table.inputs_BCL.flatten(1).chunk(2, dim=1)
    assert torch.equal(first, tokens)
    assert (second == BLANK).float().mean().item() == pytest.approx(share, abs=0.02)
    assert torch.equal(second[second != BLANK], tokens[second != BLANK])
    assert torch.equal(table.labels_BCL, Copy(**IDS).tables(tokens, Layout(16, 16))[0].labels_BCL)


def test_hand_over_is_the_same_for_the_same_generator_state() -> None:
    tokens = torch.randint(X0, 500, (4, 16))
    objective = Copy(**IDS, hand_over=1.0)
    draws = [objective.tables(tokens, Layout(4, 8), Draw(0.5, torch.Generator().manual_seed(s)))[0] for s in (1, 1, 2)]
    assert torch.equal(draws[0].inputs_BCL, draws[1].inputs_BCL)
    assert not torch.equal(draws[0].inputs_BCL, draws[2].inputs_BCL)


def test_hand_over_leaves_delimiters_in_sight() -> None:
    objective = Copy(**IDS, hand_over=1.0, delimiter_tokens=True)
    assert text(drawn(objective, draw=Draw(0.0))[0].inputs_BCL[0]) == "x0 x1 x2 x3 | # # # _"


def test_shares_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="hand_over"):
        Copy(**IDS, hand_over=1.5)
    with pytest.raises(ValueError, match="copy_weight"):
        Combined(**IDS, copy_weight=-0.1)
