"""memlab's models under the lm-evaluation-harness: tasks in the harness's own formats, from local files."""

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.harness.measure import Benchmarks
from memlab.harness.model import MemlabLM
from memlab.harness.tasks import LOCAL, held_out_tasks
from memlab.measures import Subject
from memlab.objectives import CausalLanguageModelling, Layout
from memlab.use.context import Context
from memlab.use.text_model import TextModel
from tests.use.conftest import KINDS, Make

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7\n"
CHOICES = [
    {"context": "def function_7(self,", "choices": [" value=7):", " items", " return"], "answer": 0},
    {"context": "    return self.items[0] + ", "choices": ["def", "value * 7"], "answer": 1},
]
TASKS = {
    "local_choice": """
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "local_perplexity": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{context}}{{choices[0]}}"
metric_list: [{metric: bits_per_byte}, {metric: word_perplexity}]
""",
    "local_writing": """
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match}]
""",
}


def asked(*arguments: tuple[object, ...]) -> list[Instance]:
    return [Instance("loglikelihood", {}, one, 0) for one in arguments]


@pytest.fixture
def harness(make: Make, tmp_path: Path) -> MemlabLM:
    make(*KINDS["memory"]).save_pretrained(tmp_path / "model")
    return MemlabLM(str(tmp_path / "model"), batch_size=2)


@pytest.fixture
def text_model(make: Make) -> TextModel:
    return make(*KINDS["memory"])


def test_every_token_behind_another_is_scored_as_generate_predicts_it(harness: MemlabLM, text_model: TextModel) -> None:
    model = text_model
    ids = model.token_ids(TEXT)
    assert len(ids) > 3 * model.model.length
    context = Context(model.model, torch.empty(1, 0, model.model.length).long())
    nats = []
    with torch.no_grad():
        for token, following in pairwise(ids):
            context.read(torch.tensor([[token]]))
            logits = model.model.head(context.next_hidden())
            nats.append(F.cross_entropy(logits, torch.tensor([following])).item())
    (found,) = harness.loglikelihood_rolling(asked((TEXT,)), disable_tqdm=True)
    assert found == pytest.approx(-sum(nats), rel=1e-4)
    assert model.nll(TEXT)[0] < -found, "nll leaves the first token of each chunk out"


def test_a_continuation_costs_what_it_adds_alone_and_in_a_batch(harness: MemlabLM) -> None:
    front, rest = TEXT[:30], TEXT[30:]
    whole, before = harness.loglikelihood_rolling(asked((TEXT,), (front,)), disable_tqdm=True)
    together = harness.loglikelihood(asked((front, rest), ("x = 1", " + 2"), ("", TEXT)), disable_tqdm=True)
    assert together[0][0] == pytest.approx(whole - before, rel=1e-4)
    assert together[2][0] == pytest.approx(whole, rel=1e-6)
    (alone,) = harness.loglikelihood(asked((front, rest)), disable_tqdm=True)
    assert together[0] == (pytest.approx(alone[0], rel=1e-6), alone[1])


def test_what_greedy_writes_is_known_as_greedy(harness: MemlabLM, text_model: TextModel) -> None:
    ids = text_model.token_ids(TEXT)[:20]
    (written,) = text_model.generate_tokens([ids], max_new_tokens=5)
    scored = harness._score([ids + written, [*ids, *written[:-1], written[-1] ^ 1]], "test", True)
    assert all(scored[0].likeliest[-5:]) and not scored[1].likeliest[-1]


def test_writing_ends_at_a_stop_word(harness: MemlabLM, text_model: TextModel) -> None:
    (text,) = harness.generate_until(asked((TEXT, {"until": [], "max_gen_toks": 12})), disable_tqdm=True)
    assert text == text_model.generate(TEXT, max_new_tokens=12)
    stop = text[len(text) // 2 :][:2]
    (cut,) = harness.generate_until(asked((TEXT, {"until": [stop], "max_gen_toks": 12})), disable_tqdm=True)
    assert cut == text[: text.index(stop)]


def test_mistakes_are_said(make: Make, tmp_path: Path, harness: MemlabLM) -> None:
    make("encoder=frozen_autoencoder", "objective=copy", stage=0).save_pretrained(tmp_path / "autoencoder")
    with pytest.raises(UserError, match="does not predict next tokens"):
        MemlabLM(str(tmp_path / "autoencoder"))
    with pytest.raises(UserError, match="empty prompt"):
        harness.generate_until(asked(("", {})), disable_tqdm=True)


def test_the_harness_runs_tasks_of_its_formats(make: Make, tmp_path: Path, environment: dict[str, str]) -> None:
    make(*KINDS["memory"]).save_pretrained(tmp_path / "model")
    (tmp_path / "tasks").mkdir()
    data = tmp_path / "tasks" / "data.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in CHOICES))
    for name, text in TASKS.items():
        about = (
            f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test\n"
        )
        (tmp_path / "tasks" / f"{name}.yaml").write_text(about + text)
    command = [
        *(sys.executable, "-m", "memlab.harness", "run", "--model", "memlab", "--tasks", ",".join(TASKS)),
        *("--model_args", f"pretrained={tmp_path / 'model'}", "--include_path", str(tmp_path / "tasks")),
        *("--output_path", str(tmp_path / "out")),
    ]
    home = {**environment, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, env=home, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    (written,) = (tmp_path / "out").glob("**/results_*.json")
    found = json.loads(written.read_text())["results"]
    assert found["local_choice"]["acc,none"] in (0.0, 0.5, 1.0)
    assert math.isfinite(found["local_perplexity"]["bits_per_byte,none"])
    assert found["local_writing"]["exact_match,none"] == 0.0


def test_held_out_text_becomes_tasks_and_a_measure(text_model: TextModel) -> None:
    windows = [text_model.token_ids(TEXT)[start : start + 32] for start in range(5)]
    choice, word, _ = held_out_tasks([*LOCAL], text_model.codec, windows)
    for number, asked_of in enumerate(choice["custom_dataset"]()["test"]):
        right = asked_of["context"] + asked_of["choices"][asked_of["answer"]]
        assert right == text_model.codec.decode(windows[number]) and len(asked_of["choices"]) == 4
    assert all(asked_of["context"] + asked_of["word"] in TEXT for asked_of in word["custom_dataset"]()["test"])
    layout = Layout(text_model.model.chunks, text_model.model.length)
    objective = CausalLanguageModelling(blank=0, delimiter=1)
    subject = Subject(text_model.model, objective, layout, text_model.codec, 4, torch.device("cpu"))
    found = Benchmarks(windows=6, tasks=[*LOCAL])(subject).metrics["clm"]
    assert {*found} == {
        *("held_out_choice/acc", "held_out_choice/acc_norm", "held_out_word/acc", "held_out_word/perplexity"),
        "held_out_text/bits_per_byte",
    }
    assert 0 <= found["held_out_choice/acc"] <= 1 and found["held_out_text/bits_per_byte"] > 0
    with pytest.raises(UserError, match=r"the harness cannot run arc_somewhere \("):
        Benchmarks(windows=1, tasks=["arc_somewhere"])(subject)


def test_without_the_harness_the_command_says_what_to_install(environment: dict[str, str]) -> None:
    code = "import sys; sys.modules['lm_eval'] = None; from memlab.harness.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2 and "pip install 'memlab[harness]'" in result.stderr
    assert "Traceback" not in result.stderr
