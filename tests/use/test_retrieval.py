"""Memories as an index: docs/retrieval.md runs, and the chunk that is found is the one whose text was asked for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memlab.errors import UserError
from memlab.use.text_model import TextModel
from tests.conftest import ROOT
from tests.use.conftest import KINDS, Make

(LINES,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/retrieval.md").read_text(), re.MULTILINE | re.DOTALL)
LIBRARY = "".join(f"def function_{n}(self, value={n}):\n    return self.items[{n}] + value * {n}\n" for n in range(40))


def test_the_page_runs(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(*KINDS["memory"]).save_pretrained(tmp_path / "model")
    (tmp_path / "library.txt").write_text(LIBRARY)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(LINES, {})
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if re.match(r"chunk \d+, cosine -?\d\.\d\d: ", line)]) == 3
    assert (tmp_path / "library.safetensors").is_file()


@pytest.mark.parametrize("kind", ["memory", "two memories"])
def test_a_stored_chunk_finds_itself_and_is_read_from_its_slot(make: Make, kind: str) -> None:
    model: TextModel = make(*KINDS[kind])
    library = model.encode([LIBRARY, "x = 1\n" * 30])
    asked = 17
    (hits,) = library.nearest(library[asked : asked + 1], count=5)
    assert hits[0].cosine == pytest.approx(1) and hits[0].text == library.texts[asked]
    cosines = [hit.cosine for hit in hits]
    assert cosines == sorted(cosines, reverse=True)
    place = hits[0].chunk
    assert torch.equal(library.tokens[place], library.tokens[asked]), "the same tokens, maybe of another place"
    found, wanted = library[place : place + 1], model.encode(library.texts[asked])
    prompt = "    return"
    assert model.generate(prompt, memories=found) == model.generate(prompt, memories=wanted)
    assert model.generate(prompt, memories=found) != model.generate(prompt, memories=library[asked + 1 : asked + 2])


def test_scale_does_not_matter_and_mistakes_are_said(make: Make) -> None:
    model = make(*KINDS["memory"])
    library, query = model.encode(LIBRARY), model.encode("return self.items[3]")
    louder = replace(query, vectors=query.vectors * 7)
    chunks = [[hit.chunk for hit in hits] for hits in library.nearest(query, 4)]
    assert [[hit.chunk for hit in hits] for hits in library.nearest(louder, 4)] == chunks
    assert len(chunks) == len(query) and all(len({*row}) == 4 for row in chunks)
    with pytest.raises(UserError, match="were made by another, these memories by"):
        library.nearest(replace(query, made_by="another"))
    with pytest.raises(UserError, match=f"choose 1 to {len(library)}"):
        library.nearest(query, count=len(library) + 1)
