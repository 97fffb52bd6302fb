"""hydra/launcher=local. That of SLURM needs one: tests/slurm."""

from pathlib import Path

from tests.conftest import Command

LOCAL = ("hydra/launcher=local", "hydra.launcher.parallel=2", "trainer.threads=1")


def test_local_processes_share_a_stage_and_end_with_the_report(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "arm=no_memory,direct_copy,blank_copy", *LOCAL, runs=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("submitted local job") == 3
    logs = "".join(path.read_text() for path in tmp_path.glob("hydra/.submitit/*/*_log.out"))
    assert (
        logs.count("autoencoder-")
        and sum("autoencoder-" in line and "steps in" in line for line in logs.splitlines()) == 1
    ), "trained once"
    assert "claims" in result.stdout and list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_a_local_process_that_fails_is_named_and_the_others_are_reported(memlab: Command, tmp_path: Path) -> None:
    result = memlab(
        "+experiment=copy_curriculum", "arm=no_memory", "architecture=mixer,transformer", "scale.lr.mixer=1e30",
        "trainer.log_every=1", *LOCAL, runs=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in result.stderr
    assert "error: job " in result.stderr and "_log." in result.stdout
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))
