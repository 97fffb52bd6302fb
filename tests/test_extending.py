"""docs/extending.md as it stands: its files are written into a folder, and everything in it is trained with."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.data import BytePairEncoding, TextFiles, data_hash, prepare
from memlab.models import CausalAttention, GeluMLP, Stack, StackDecoder, StackEncoder
from memlab.reproduce import EXPERIMENTS
from memlab.training.estimate import flops_per_step
from tests.conftest import ROOT, smoke
from tests.pages import EXTENDING, commands, shown_files, write_files

FILES = shown_files(EXTENDING)
SEARCH = "hydra.searchpath=[file://conf]"
OF_AN_EXPERIMENT = "bridges"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's own with the files of the page."""
    folder = tmp_path_factory.mktemp("lab")
    write_files({name: text for name, text in FILES.items() if not name.startswith("experiments/")}, folder)
    return folder


@pytest.fixture
def in_lab(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(lab)
    monkeypatch.syspath_prepend(lab)
    return lab


def run(command: list[str], folder: Path, environment: dict[str, str], *python_path: Path) -> str:
    """Run `python -m` in a folder; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**environment, "PYTHONPATH": ":".join(map(str, python_path))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def targets(value: Any) -> set[str]:
    """Return every _target_ in a config."""
    if isinstance(value, list):
        return {target for item in value for target in targets(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["_target_"]} if "_target_" in value else set()
    return own | {target for item in value.values() for target in targets(item)}


def test_every_code_block_of_the_page_is_a_file() -> None:
    assert len(FILES) == len(re.findall(r"^```\w+$", EXTENDING.read_text(), flags=re.MULTILINE))
    written = {name for name in FILES if name.startswith("mylab/")}
    assert {f"mylab/{t.split('.')[1]}.py" for t in targets_shown()} == written, "each class has its YAML file"
    new = {Path(name).relative_to("conf").parts[0] for name in FILES if name.startswith("conf/")}
    assert new == {
        "architecture", "bridge", "data", "experiment", "logger", "measure", "model", "objective", "optimizer",
        "schedule", "tokenizer",
    }  # fmt: skip


def targets_shown() -> set[str]:
    options = [yaml.safe_load(text) for name, text in FILES.items() if name.startswith("conf/")]
    return {target for option in options for target in targets(option)}


def test_everything_on_the_page_trains_together(lab: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    (command,) = [command for command in commands(EXTENDING.read_text()) if "scale=smoke" in command]
    run([*command, f"runs_dir={tmp_path}"], lab, environment, ROOT, lab)
    (folder,) = tmp_path.glob("stages/last_chunk-*")
    used = targets(yaml.safe_load((folder / "config.yaml").read_text()))
    assert used >= targets_shown() - {"mylab.gates.Gates"}
    measured = json.loads((folder / "evaluation-top.json").read_text())["metrics"]["last_chunk"]
    scored = json.loads((folder / "evaluation-score.json").read_text())["metrics"]["last_chunk"]
    assert scored["token_accuracy"] <= measured["top_5_accuracy"] <= 1
    (line,) = (tmp_path / "stages.jsonl").read_text().splitlines()
    assert json.loads(line)["stage"] == folder.name
    assert json.loads(line)["top_5_accuracy"] == measured["top_5_accuracy"]


def test_the_experiment_of_the_page_ends_with_its_verdict_and_figures(
    lab: Path, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Its claims and figure are in a checkout's experiments/, the rest in the user's folder."""
    checkout = tmp_path / "checkout"
    for name in ("memlab", "conf"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_files({name: text for name, text in FILES.items() if name.startswith("experiments/")}, checkout)
    overrides = [SEARCH, f"+experiment={OF_AN_EXPERIMENT}", *smoke(corpus, tmp_path / "runs")]
    printed = run(["memlab.run", *overrides], lab, environment, checkout, lab)
    (folder,) = (tmp_path / "runs").glob(f"reports/{OF_AN_EXPERIMENT}/*")
    report = json.loads((folder / "report.json").read_text())
    assert [row["arm"] for row in report["rows"]] == ["unroll", "gates"]
    (claim,) = report["claims"]
    assert claim["holds"] is not None, claim
    assert claim["text"] in printed and claim["verdict"] in printed
    assert {"figure.png", "figure_cost.png"} <= {path.name for path in folder.iterdir()}
    configs = (tmp_path / "runs").glob("stages/autoencoder-*/config.yaml")
    with_gates = [yaml.safe_load(path.read_text())["stage"]["model"]["bridge"]["_target_"] for path in configs]
    assert sorted(with_gates) == ["memlab.models.UnrollBridge", "mylab.gates.Gates"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_architecture_of_ones_own_runs_in_every_experiment(
    experiment: str, in_lab: Path, corpus: Path, tmp_path: Path
) -> None:
    given = [SEARCH, f"+experiment={experiment}", "architecture=average", *smoke(corpus, tmp_path)]
    for chain in plan_all(compose_sweep(given).configs):
        for job in chain.jobs:
            assert flops_per_step(job.stage) > 0


def test_the_source_and_the_tokenizer_of_data_md_are_options(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line; tests/data/test_page.py looks at the tokens that they make."""
    page = (ROOT / "docs" / "data.md").read_text()
    python = re.findall(r"```python\n(\"{3}(\w+\.py): .*?)```", page, flags=re.DOTALL)
    options = re.findall(r"```yaml\n(# (conf/\S+\.yaml): .*?)```", page, flags=re.DOTALL)
    write_files({name: code for code, name in [*python, *options]}, tmp_path)
    text, bpe = TextFiles(name="text", path=str(corpus), val=0.1), BytePairEncoding(vocab=300)
    trained = prepare(text, bpe, tmp_path, data_hash(text, bpe))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("rows.csv").write_text("n,body\n1,one\n2,two\n")
    source = ["data=csv_rows", "data.path=rows.csv", "data.column=body"]
    tokenizer = ["tokenizer=trained_bpe", f"tokenizer.path={trained.path}/tokenizer.json", "tokenizer.vocab=300"]
    (chain,) = plan_all(compose_sweep([SEARCH, "scale=smoke", *source, *tokenizer]).configs)
    assert chain.jobs[0].stage.data["vocab"] == 300 and flops_per_step(chain.jobs[0].stage) > 0


def test_an_option_with_a_name_of_memlabs_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says about names."""
    write_files({"conf/schedule/linear.yaml": "_target_: mylab.Own\n"}, tmp_path)
    monkeypatch.chdir(tmp_path)
    (config,) = compose_sweep([SEARCH, "schedule=linear"]).configs
    assert config.schedule._target_ == "memlab.training.LinearDecay"


@pytest.mark.parametrize("place", ["file://conf", "file://{lab}/conf"])
def test_the_places_that_the_page_names_are_found(place: str, in_lab: Path) -> None:
    (config,) = compose_sweep([f"hydra.searchpath=[{place.format(lab=in_lab)}]", "schedule=cosine"]).configs
    assert config.schedule._target_ == "mylab.cosine.Cosine"


def test_the_mixer_of_the_page_is_causal_and_decodes_step_by_step(in_lab: Path) -> None:
    from mylab.average import Average  # type: ignore[import-not-found]

    mixer = Average(8, 6).double()
    torch.nn.init.normal_(mixer.logit)
    x_RTD = torch.randn(2, 6, 8, dtype=torch.float64)
    decay_D = mixer.logit.sigmoid()
    expected = [x_RTD[:, 0]]
    for position in range(1, 6):
        expected.append(expected[-1] * decay_D + x_RTD[:, position])
    torch.testing.assert_close(mixer(x_RTD), torch.stack(expected, dim=1))
    torch.testing.assert_close(mixer(x_RTD, 2, 5), torch.stack(expected[2:5], dim=1))
    state = mixer.begin(2)
    steps = [mixer.step(part, state) for part in x_RTD.split((1, 3, 2), dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), torch.stack(expected, dim=1))


def test_the_model_of_the_page_reads_the_previous_chunk_alone(in_lab: Path) -> None:
    from functools import partial

    from mylab.previous import PreviousChunk  # type: ignore[import-not-found]

    stack = partial(
        Stack, width=8, layers=1, mixer=partial(CausalAttention, heads=2), mlp=GeluMLP, norm=torch.nn.LayerNorm
    )
    ports = {"encoder": partial(StackEncoder, stack=stack), "decoder": partial(StackDecoder, stack=stack)}
    model = PreviousChunk(**ports, vocab=20, chunks=3, length=4).double()
    inputs_BCL = torch.randint(20, (2, 3, 4))
    logits_BCLV = model(inputs_BCL)
    for chunk, read_by in ((0, {0, 1}), (1, {1, 2}), (2, {2})):
        changed_BCL = inputs_BCL.clone()
        changed_BCL[:, chunk, -1] = (changed_BCL[:, chunk, -1] + 1) % 20
        differs = (model(changed_BCL) != logits_BCLV).flatten(2).any(2).any(0)
        assert {int(c) for c in differs.nonzero()} == read_by
    alone_B1LV = model(inputs_BCL, range(2, 3))
    torch.testing.assert_close(alone_B1LV, logits_BCLV[:, 2:])
