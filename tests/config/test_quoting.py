"""Values that Hydra's grammar reads as more than a value: the message says what to type, and that works in a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.explain import quoted
from memlab.config.overrides import parse
from memlab.errors import UserError
from tests.conftest import smoke, write_corpus

# Each is refused as it stands.
NAMES = [
    "a=b", "a(b", "a(b)", "a[b]", "[a]", "a#b", "it's", "a~b", "a,b", "\u00fcml\u00e4ut", "\u6587\u5b57", "\U0001f600",
    "{a}", "a{b", 'a"b', "a;b", "a&b", "a!b", "a`b", "a<b", "a^b", 'a\\"b=', "a=b\\", "a'b\"c, d",
]  # fmt: skip
# Names that are read as another kind of value.
OTHER_KINDS = ["3", "2024", "1e3", "true", "null", "[a,b]"]


def typed_in_a_shell(message: str) -> list[str]:
    """Return the words that a shell makes of what the message says to type."""
    typed = message.partition(" type ")[2]
    result = subprocess.run(["bash", "-c", f"printf '%s\\0' {typed}"], capture_output=True, text=True, check=True)
    return result.stdout.split("\0")[:-1]


def advice_on(override: str) -> str:
    with pytest.raises(UserError) as error:
        parse(override)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_message_says_to_type_means_the_value(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()  # a comma is a sweep where there is no such file
    value = f"{tmp_path}/{name}"
    words = [word for key in ("data.path", "runs_dir") for word in typed_in_a_shell(advice_on(f"{key}={value}"))]
    assert [parse(word).value() for word in words] == [value, value]
    # A sweep puts the words of its points together again.
    config = compose_sweep(["data=text_files", *words, "architecture=mixer,transformer"]).configs[-1]
    assert config.data.path == config.runs_dir == value


@pytest.mark.parametrize("key", ["data.path", "encoder.run", "evaluation.data.path"])
@pytest.mark.parametrize("name", OTHER_KINDS)
def test_a_folder_s_name_is_no_number(name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(f"{key}={name}").value() != name, "there is no such folder: it may be meant"
    (tmp_path / name).mkdir()
    (word,) = typed_in_a_shell(advice_on(f"{key}={name}"))
    assert parse(word).value() == name


@pytest.mark.parametrize("value", ["a", "a\\b", 'a"b', "a\\", "\\\\", '\\"', '"', "a\\\\b", "", "'", "\u6587"])
def test_quotes_are_taken_off_again(value: str) -> None:
    assert parse(f"key={quoted(value)}").value() == value


def test_a_message_can_be_pasted_and_the_command_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """The whole way, once: the command as it was typed, its message, the command as the message says."""
    folder = tmp_path / "it's a=(b)[c]#d~e, \u00fc\u6587"
    write_corpus(folder)
    command = [sys.executable, "-m", "memlab.run", "dry_run=true"]
    others = [word for word in smoke(folder, tmp_path / "runs") if not word.startswith("data.path=")]

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    first = subprocess.run(
        [*command, *others, f"data.path={folder}"], env=environment, capture_output=True, text=True, check=False
    )
    assert first.returncode == 2 and "Traceback" not in first.stderr
    typed = first.stderr.partition(" type ")[2].strip()
    second = run(" ".join([*command, *others, typed]))
    assert second.returncode == 0 and "1 points" in second.stdout, second.stderr
