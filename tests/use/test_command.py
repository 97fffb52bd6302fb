"""python -m memlab.use: encode, retention, chat, export, push."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import memlab
from memlab.data.pieces import Piece
from memlab.use import __main__ as command
from memlab.use.chat import chat, typed
from memlab.use.generate import Sampling
from memlab.use.memories import Memories
from memlab.use.retention import Retention
from memlab.use.show import show_retention
from memlab.use.text_model import TextModel
from tests.conftest import ROOT, wait_for

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7  # é\n" * 2


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object, stdin: bytes = b"") -> None:
    """Run the command in this process, as far as `main`."""
    monkeypatch.setattr(sys, "argv", ["memlab.use", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
    command.main()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8-sig")
    return path


def test_encode_writes_memories(
    trained: list[Path], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, trained[1], "--encode", file)
    memories = Memories.load(f"{file}.memories.safetensors")
    assert memories.vectors.equal(memlab.load(trained[1]).encode(TEXT).vectors)
    output = capsys.readouterr().out
    assert f"{len(memories)} chunks of up to 8 tokens, 32 floats (1,024 bits) each" in output
    assert f"{len(memories) * 128:,} bytes of memories for {len(TEXT.encode())} bytes of text" in output
    run(monkeypatch, trained[1], "--encode", "-", "--out", file.with_name("b"), stdin=TEXT.encode())
    assert Memories.load(file.with_name("b")).vectors.equal(memories.vectors)


def test_export_writes_a_folder_that_loads_and_push_uploads_it(
    trained: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, trained[1], "--export", tmp_path / "out")
    assert memlab.load(tmp_path / "out").fingerprint == memlab.load(trained[1]).fingerprint
    asked: list[tuple[str, bool | None]] = []
    monkeypatch.setattr(TextModel, "push_to_hub", lambda _, name, private: asked.append((name, private)) or "there")
    run(monkeypatch, tmp_path / "out", "--push", "me/mine", "--private")
    assert asked == [("me/mine", True)] and "Uploaded: there" in capsys.readouterr().out


def test_retention_shows_both_texts(
    trained: list[Path], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in trained:
        run(monkeypatch, folder, "--retention", file)
        output = capsys.readouterr().out
        assert "came back" in output and ">" in output and "\x1b" not in output
        assert "% of the generated tokens are right; wrong: >between these marks<" in output
    assert output.rstrip().endswith("a chunk's first token is given")


RETENTION = Retention(
    "one\ntwo",
    "one\ntwx",
    0.75,
    (
        (Piece("one", "one", "given", 1), Piece("\n", "\n", "right", 1)),
        (Piece("tw", "tw", "right", 1), Piece("o", "x[/]", "wrong", 1)),
    ),
)


@pytest.mark.parametrize("colour", [True, False])
def test_wrong_tokens_are_marked_with_colour_or_without(colour: bool) -> None:
    terminal = Console(
        file=io.StringIO(), force_terminal=True, no_color=not colour, color_system="standard", highlight=False
    )
    show_retention(RETENTION, terminal)
    output = terminal.file.getvalue()  # type: ignore[attr-defined]
    if colour:
        assert "tw\x1b[1;31mx[/]\x1b[0m" in output and "\x1b[2mone\x1b[0m\\n" in output and ">x" not in output
    else:
        assert "tw>x[/]<" in output and "31m" not in output
    assert "75.0% of the generated tokens" in output


def test_a_conversation_is_one_growing_text(memory_model: TextModel) -> None:
    """Each answer is what generate writes behind all that was said before."""
    lines, said = ["def function_7(self):\n", "return self\n", "# items\n"], io.StringIO()
    chat(memory_model, iter(lines), said.write, max_new_tokens=12)
    ids: list[int] = []
    expected = ""
    for line in lines:
        ids += memory_model.token_ids(line)
        (new,) = memory_model.generate_tokens([ids], max_new_tokens=12)
        ids += new
        expected += memory_model.codec.decode(new) + "\n"
    assert said.getvalue() == expected


def test_a_conversation_may_begin_with_memories(memory_model: TextModel) -> None:
    memories, said = memory_model.encode(TEXT)[:2], io.StringIO()
    sampling = Sampling(1.0, 0.9, seed=2)
    chat(memory_model, iter(["def"]), said.write, memories=memories, max_new_tokens=12, sampling=sampling)
    options = {"temperature": 1.0, "top_p": 0.9, "seed": 2}
    assert said.getvalue() == memory_model.generate("def", memories=memories, max_new_tokens=12, **options) + "\n"


def test_lines_end_with_the_input() -> None:
    asked: list[str] = []
    assert list(typed(io.StringIO("a\n\n  \nb"), asked.append)) == ["a\n", "b\n"]
    assert asked == [], "a file is not asked"


def test_chat_reads_lines_and_ends_politely(
    trained: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, trained[1], "--chat", "--max-new-tokens", 5, stdin=b"def f\nreturn\n")
    assert capsys.readouterr().out.count("\n") >= 2


# Where the tests were started behind nohup or &, Ctrl-C is ignored unless the process says otherwise.
HEARS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("memlab.use", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_ends_a_chat_politely(trained: list[Path], environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, str(trained[1]), "--chat", "--max-new-tokens", "1000000"],
        env={**environment, "PYTHONUNBUFFERED": "1"}, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"def f\n")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        wait_for(lambda: process.stdout.read(1), 120)  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            process.stdout.read()
            time.sleep(0.02)
        assert process.poll() == 0
        assert process.stderr is not None and process.stderr.read().strip() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encode", "missing.txt"], "cannot read missing.txt: No such file"),
        (["--encode", "-"], "say where to write"),
        (["--retention", "latin.txt"], "byte 0xe9 at offset 3 is not UTF-8"),
        (["--retention", "empty.txt"], "no text to encode"),
        (["--chat", "--memories", "latin.txt"], "is no file of memories"),
        (["--chat", "--temperature", "-1"], "temperature=-1.0"),
        (["--chat", "--max-new-tokens", "0"], "max_new_tokens=0"),
    ],
)
def test_mistakes_are_one_message_and_status_2(
    trained: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("empty.txt").touch()
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, trained[1], *arguments, stdin=b"def\n")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_help_needs_no_torch(environment: dict[str, str]) -> None:
    code = "import runpy, sys\nsys.argv = ['memlab.use', '--help']\ntry:\n    runpy.run_module('memlab.use', run_name="
    code += "'__main__')\nexcept SystemExit:\n    print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "--retention FILE" in result.stdout and result.stdout.rstrip().endswith("False")
