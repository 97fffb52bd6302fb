"""The published set-ups, as the public drivers have them, and where scale=paper* differs (docs/deviations.md)."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Chain, Job

CURRICULUM = "+experiment=copy_curriculum arm=abrupt_curriculum"
RETENTION = "+experiment=information_retention arm="
INFORMATION = "+experiment=memory_information arm=probe_memory_clm"
FIGURE_2 = "+experiment=causal_memory arm="
RECOVERY = "+experiment=frozen_recovery arm=frozen_autoencoder_clm"
ORACLE = "+experiment=oracle_memory scale=paper_oracle arm="
THROUGHPUT = "+experiment=throughput seed=0 arm="
PLACEMENT = "+experiment=memory_placement arm=variable_clm"

# A point in a line; then a line per stage of it:
# stage | encoder: width layers heads taps | decoder: the same | chunks length | lr batch steps warm-up | bridge
TABLE = f"""
paper mixer {CURRICULUM}
    autoencoder | 512 16 0 4  | 512 16 0 4  | 1 256 | 5e-4 128 128000 5000 | Unroll
    blank_copy  | 512 16 0 4  | 512 16 0 1  | 4 256 | 5e-4 64 100000 500   | -
    copy        | 512 16 0 4  | 512 16 0 1  | 4 256 | 5e-4 64 100000 500   | -
paper transformer {CURRICULUM}
    autoencoder | 512 16 4 -  | 512 16 4 -  | 1 256 | 4e-4 128 200000 500  | Unroll
    blank_copy  | 512 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 64 100000 500   | -
    copy        | 512 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 64 100000 500   | -
paper transformer objective=combined
    combined    | 512 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 64 100000 500   | -
paper_figure_2 mixer {FIGURE_2}memory
    clm         | 512 16 0 8  | 1024 16 0 1 | 4 256 | 5e-4 128 200000 500  | -
paper_figure_2 mixer {FIGURE_2}memory_matched
    clm         | 512 16 0 8  | 1024 16 0 1 | 4 256 | 5e-4 128 200000 500  | -
paper_figure_2 mixer {FIGURE_2}full_context
    clm         | -           | 1024 16 0 1 | 4 256 | 5e-4 128 200000 500  | -
paper_figure_2 mixer {FIGURE_2}recurrent
    clm         | -           | 1024 16 0 8 | 4 256 | 5e-4 128 200000 500  | -
paper_figure_2 transformer {FIGURE_2}memory
    clm         | 256 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_figure_2 transformer {FIGURE_2}full_context
    clm         | -           | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_figure_2 transformer {FIGURE_2}recurrent
    clm         | -           | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_figure_2 transformer {PLACEMENT}
    clm         | 256 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_figure_2 mixer {THROUGHPUT}memory_matched
    clm         | 512 16 0 8  | 1024 16 0 1 | 4 256 | 5e-4 128 200000 500  | -
paper_figure_2 transformer {THROUGHPUT}memory
    clm         | 256 16 4 -  | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_figure_2 transformer {THROUGHPUT}full_context
    clm         | -           | 512 16 4 -  | 4 256 | 2e-4 128 200000 500  | -
paper_oracle mixer {ORACLE}oracle_autoencoder
    autoencoder | 1024 8 0 16 | 1024 8 0 16 | 1 512 | 5e-4 128 200000 500  | Unroll
    clm         | 1024 8 0 16 | 1024 8 0 1  | 2 512 | 5e-4 64 100000 500   | -
paper_frozen_recovery mixer {RECOVERY}
    autoencoder | 1024 8 0 16 | 1024 8 0 16 | 1 512 | 5e-4 128 200000 500  | Unroll
    clm         | 1024 8 0 16 | 512 16 0 1  | 4 512 | 5e-4 128 200000 500  | -
paper_frozen_recovery transformer {RECOVERY}
    autoencoder | 1024 8 4 -  | 1024 8 4 -  | 1 512 | 4e-4 128 200000 500  | Unroll
    clm         | 1024 8 4 -  | 512 16 4 -  | 4 512 | 2e-4 128 200000 500  | -
paper_figure_4b mixer {INFORMATION}
    clm         | 512 16 0 8  | 1024 16 0 1 | 4 256 | 5e-4 128 200000 500  | -
    probe       | 512 16 0 8  | 512 16 0 8  | 1 256 | 5e-4 128 200000 5000 | Unroll
paper_figure_4b transformer {INFORMATION}
    clm         | 256 16 4 -  | 512 16 4 -  | 4 512 | 4e-4 128 200000 500  | -
    probe       | 256 16 4 -  | 256 16 4 -  | 1 512 | 4e-4 128 200000 500  | Unroll
paper_figure_s1 mixer {RETENTION}autoencoder
    autoencoder | 1024 8 0 16 | 1024 8 0 16 | 1 512 | 5e-4 128 200000 500  | Unroll
paper_figure_s1 mixer {RETENTION}probe_autoencoder
    probe       | 1024 8 0 16 | 1024 8 0 1  | 1 512 | 5e-4 128 200000 500  | Repeat
paper_figure_s1 mixer {RETENTION}probe_autoencoder_matched
    probe       | 1024 8 0 16 | 1024 8 0 16 | 1 512 | 5e-4 128 200000 500  | Unroll
paper_figure_s1 mixer {RETENTION}probe_untrained
    probe       | 1024 8 0 1  | 1024 8 0 1  | 1 512 | 5e-4 128 200000 500  | Repeat
paper_figure_s1 mixer {RETENTION}probe_causal
    probe       | 1024 8 0 1  | 1024 8 0 1  | 1 512 | 5e-4 128 200000 500  | Repeat
paper_figure_s1 mixer {RETENTION}probe_causal_retrieval
    retrieval   | 1024 8 0 1  | -           | 1 512 | 1e-4 128 200000 50   | -
paper_figure_s1 transformer {RETENTION}autoencoder
    autoencoder | 512 8 16 -  | 512 8 16 -  | 1 512 | 2e-4 128 200000 500  | Unroll
paper_figure_s1 transformer {RETENTION}probe_autoencoder
    probe       | 512 8 16 -  | 512 8 4 -   | 1 512 | 2e-4 128 200000 500  | Unroll
paper_figure_s1 transformer {RETENTION}probe_autoencoder_matched
    probe       | 512 8 16 -  | 512 8 16 -  | 1 512 | 2e-4 128 200000 500  | Unroll
paper_figure_s1 transformer {RETENTION}probe_untrained
    probe       | 512 8 4 -   | 512 8 4 -   | 1 512 | 2e-4 128 200000 500  | Unroll
paper_figure_s1 transformer {RETENTION}probe_causal
    probe       | 512 8 4 -   | 512 8 4 -   | 1 512 | 2e-4 128 200000 500  | Unroll
paper_figure_s1 transformer {RETENTION}probe_causal_retrieval
    retrieval   | 512 8 4 -   | -           | 1 512 | 1e-4 128 200000 50   | -
"""


def rows() -> Iterator[list[str]]:
    point = ""
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            point = line
        else:
            yield [point, *(" ".join(cell.split()) for cell in line.split("|"))]


@cache
def chain_of(point: str, corpus: Path) -> Chain:
    scale, architecture, *more = point.split()
    given = [f"scale={scale}", f"architecture={architecture}", *more, "data=text_files", f"data.path={corpus}"]
    (chain,) = plan_all(compose_sweep(given).configs)
    return chain


def job_of(point: str, stage: str, corpus: Path) -> Job:
    (job,) = [job for job in chain_of(point, corpus).jobs if job.stage.name == stage]
    return job


def stack(part: dict[str, Any] | None) -> str:
    if part is None:
        return "-"
    mixer = part["stack"]["mixer"]
    return f"{part['stack']['width']} {part['stack']['layers']} {mixer['heads']} {mixer.get('taps', '-')}"


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row[0]} {row[1]}")
def test_scale_paper_is_the_published_set_up(row: list[str], corpus: Path) -> None:
    point, name, encoder, decoder, layout, training, bridge = row
    stage = job_of(point, name, corpus).stage
    model, given = stage.model, stage.training
    assert stack(model.get("encoder")) == encoder
    assert stack(model.get("decoder")) == decoder
    assert f"{stage.layout['chunks']} {stage.layout['length']}" == layout
    lr, batch, steps, warmup = training.split()
    assert given["optimizer"]["lr"] == float(lr)
    assert (given["batch_size"], given["steps"], given["schedule"]["warmup"]) == (int(batch), int(steps), int(warmup))
    assert (
        model.get("bridge", {"_target_": "-"})["_target_"].replace("memlab.models.", "").replace("Bridge", "") == bridge
    )

    assert given["accumulate"] == 1 and given["clip"] == 1.0 and given["precision"] == "bf16-mixed"
    assert given["optimizer"]["_target_"] == "torch.optim.AdamW" and given["optimizer"]["betas"] == [0.9, 0.999]
    assert given["optimizer"]["weight_decay"] == 0 and given["schedule"]["_target_"] == "memlab.training.LinearDecay"
    for part in ("encoder", "decoder"):
        assert model.get(part) is None or model[part]["embedding_std"] == 1.0
    assert model["vocab"] == 8000 and model.get("memories", 1) == 1


@pytest.mark.parametrize("scale", ["paper", "paper_figure_2", "paper_figure_4b", "paper_figure_s1"])
def test_the_published_text_is_whole(scale: str) -> None:
    (config,) = compose_sweep([f"scale={scale}"]).configs
    assert (config.data.name, config.data.max_bytes, config.data.windows) == ("fineweb_edu", None, "packed")


def test_copying_has_a_third_of_the_combined_loss(corpus: Path) -> None:
    objective = job_of("paper transformer objective=combined", "combined", corpus).stage.objective
    assert objective["copy_weight"] == pytest.approx(1 / 3)


def test_retrieval_is_by_seven_tokens_at_the_published_temperature(corpus: Path) -> None:
    objective = job_of(f"paper_figure_s1 mixer {RETENTION}probe_causal_retrieval", "retrieval", corpus).stage.objective
    assert (objective["ngram"], objective["temperature"]) == (7, 0.02)


@pytest.mark.parametrize(("architecture", "fill"), [("mixer", 0.0), ("transformer", 1.0)])
def test_unused_slots_are_as_published(architecture: str, fill: float, corpus: Path) -> None:
    model = job_of(f"paper {architecture} objective=copy", "copy", corpus).stage.model
    assert (model["fill"], model["slots"]) == (fill, "fixed")
