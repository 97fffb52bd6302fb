"""The code of docs/data.md is run as it stands."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from memlab.data import BytePairEncoding, data_hash
from tests.conftest import ROOT
from tests.data.texts import BPE, made, text_files, whole_text


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), flags=re.DOTALL)


def built(option: str, folder: Path, code: str, **values: Any) -> Any:
    """The object of a YAML, its class imported from a file of the user's."""
    given = {key: value for key, value in yaml.safe_load(option).items() if not str(value).startswith("${")}
    module, _, name = given.pop("_target_").rpartition(".")
    (folder / f"{module}.py").write_text(code)
    return getattr(importlib.import_module(module), name)(**{**given, **values})


def test_a_source_and_a_tokenizer_of_one_s_own(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source_code, tokenizer_code, use_code = blocks("python")
    source_yaml, tokenizer_yaml = blocks("yaml")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [f'{i},"document {i}, with words <blank>"' for i in range(40)]
    (tmp_path / "rows.csv").write_text("n,body\n" + "\n".join(rows))
    source = built(source_yaml, tmp_path, source_code, path=str(tmp_path / "rows.csv"), column="body", val=0.25)
    trained = made(text_files(corpus), BPE, tmp_path / "data")
    own = {"path": str(trained.path / "tokenizer.json"), "vocab": trained.vocab}
    tokenizer = built(tokenizer_yaml, tmp_path, tokenizer_code, **own)

    assert data_hash(source, tokenizer) != data_hash(source, BytePairEncoding(vocab=300))
    prepared = made(source, tokenizer, tmp_path / "data")
    assert whole_text(prepared, "val").count("with words <blank>") == 10
    assert prepared.blank == 0 and 0 not in prepared.tokens("train")
    assert (prepared.token_bytes == trained.token_bytes).all()

    found: dict[str, Any] = {}
    exec(use_code.replace("runs/stages/STAGE", str(prepared.path)), found)
    assert found["text"] == "def f(self):" and found["size"] == 12


def test_the_page_s_lines_are_short_and_its_messages_are_the_code_s() -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    assert not [line for line in page.splitlines() if len(line) > 120 and not line.startswith("|")]
    code = "".join(path.read_text() for path in (ROOT / "memlab" / "data").glob("*.py"))
    code = re.sub(r'"\n\s+f?"', "", code)  # messages are written in several strings
    for part in ("is damaged, cut off or not what its name says", "pointer, not the file itself", "not JSON (",
                 "this is a binary file or UTF-16 without a byte-order mark", "is larger than this text supports",
                 "document(s) with text: training and validation need one each", "has changed"):  # fmt: skip
        assert part in code and part.rstrip(" (") in page
