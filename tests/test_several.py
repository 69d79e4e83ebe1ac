"""Training in two processes gives the gradient of one, and reads every validation item once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import several_processes
import torch
from test_models import batch_of
from toys import FORMULAS, VOCABULARY, narrow

from hmer import several
from hmer.config import TrainConfig
from hmer.datasets.folder import read_dataset, sample
from hmer.errors import ConfigError
from hmer.models import build
from hmer.several import Processes, chosen_precision

ROOT = Path(__file__).resolve().parent.parent


def launched(out: Path, data: Path, processes: int) -> list[dict[str, Any]]:
    """What each process of tests/several_processes.py has written."""
    # Without --multi_gpu, accelerate starts a single process where it sees no GPU; with it, CPUs work together too.
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    call = [*launcher, str(ROOT / "tests" / "several_processes.py")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*call, str(data), str(out), str(processes)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"{processes}-{index}.json").read_text(encoding="utf-8")) for index in range(processes)]


@pytest.mark.slow
def test_two_processes_are_as_one(toy_data: Path, tmp_path: Path) -> None:
    several_processes.main(toy_data, tmp_path, 1)
    alone = json.loads((tmp_path / "1-0.json").read_text(encoding="utf-8"))
    first, second = launched(tmp_path, toy_data, 2)
    assert (alone["processes"], first["processes"], second["processes"]) == (1, 2, 2)
    # The gradient, on the same sixteen samples in parts of five and eleven.
    for name in several_processes.NAMES:
        assert alone[name].keys() == first[name].keys()
        for parameter, expected in alone[name].items():
            assert expected, parameter
            for found in (first, second):
                assert found[name][parameter] == pytest.approx(expected, abs=1e-5), (name, parameter)
        assert max(abs(value) for gradient in alone[name].values() for value in gradient) > 1e-2
    # Each process draws its own samples, and both agree on how far they are.
    assert first["batches"] == alone["batches"] != second["batches"]
    assert (alone["samples"], first["samples"], second["samples"]) == (8, 16, 16)
    assert first["seconds"] == second["seconds"]
    # Seven items for two processes: each counts once, and only one process writes.
    for count in (1, 2):
        lines = [json.loads(line) for line in (tmp_path / f"fit-{count}" / "log.jsonl").read_text("utf-8").splitlines()]
        (validation,) = [line for line in lines if "validation_exprate" in line]
        assert validation["validation_n"] == 7
    chosen = sorted(item.path.name for item in sample(read_dataset(toy_data, "crohme"), 7))
    assert len(set(chosen)) == 7
    for each in (alone, first, second):
        assert sorted(each["read"]) == chosen


def test_a_single_process_takes_the_loss_as_it_is() -> None:
    processes = Processes(TrainConfig(device="cpu"))
    loss = build(narrow("cnn_lstm"), VOCABULARY).loss(batch_of(list(FORMULAS)))
    assert processes.balanced(loss) is loss.total
    assert processes.sums(1.5, 2.0) == [1.5, 2.0]
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.gathered("x") == ["x"]
    assert processes.first and processes.count == 1


def test_the_precision_suits_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        Processes(TrainConfig(device="cpu", mixed_precision="fp16"))
    assert chosen_precision(TrainConfig(mixed_precision="fp16"), cores=False) == "fp16"
    tried: list[str] = []
    monkeypatch.setattr(several, "faster_precision", lambda: tried.append("cores") or "bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for supported, expected in ((True, "bf16"), (False, "no")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, found=supported: found)
        assert chosen_precision(TrainConfig(mixed_precision="auto"), cores=False) == expected
    assert not tried  # what the cores are quick with says nothing of a GPU
    assert chosen_precision(TrainConfig(mixed_precision="auto"), cores=True) == "bf16" and tried == ["cores"]
