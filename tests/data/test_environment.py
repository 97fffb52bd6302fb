"""What importing and preparing leave alone: heavy modules, the home folder, the working folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet


def test_importing_and_hashing_load_nothing_heavy(corpus: Path) -> None:
    code = (
        "import sys; from memlab.data import BytePairEncoding, TextFiles, data_hash\n"
        f"data_hash(TextFiles(name='mine', path={str(corpus)!r}, val=0.1), BytePairEncoding(vocab=300))\n"
        "print(sorted({'torch', 'lightning', 'datasets', 'tokenizers', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_written_outside_the_folder_that_was_given(tmp_path: Path) -> None:
    """Local text in every format, where the home folder cannot be written to and the working folder must not be."""
    texts = [f"text {i} " * 30 for i in range(40)]
    (tmp_path / "text").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts[:20]}), tmp_path / "text" / "a.parquet")
    (tmp_path / "text" / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[20:]))
    code = (
        "from pathlib import Path; from tests.data.texts import *; from memlab.data import Hub, held_out_hash\n"
        "from memlab.data import prepare_held_out\n"
        f"text, runs = {str(tmp_path / 'text')!r}, Path({str(tmp_path / 'runs')!r})\n"
        "one = made(text_files(text), BytePairEncoding(vocab=262), runs)\n"
        "hub = Hub(name='h', repository='a/b', subset='c', split='d', revision='e', files='*', val=0.1, path=text)\n"
        "prepare_held_out(hub, one, one.path.parent, held_out_hash(hub, one.hash))\n"
    )
    (tmp_path / "cwd").mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": "/dev/null", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path / "cwd", check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "runs", "text"]
    assert not list((tmp_path / "cwd").iterdir())
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 2
