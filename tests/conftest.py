"""A checkpoint that is made in a moment, for what only needs one to be there, and a data folder of its own."""

from pathlib import Path

import pytest
import torch
from toys import DELTA, FORMULAS, VOCABULARY, narrow, write_dataset

from hmer.checkpoint import CheckpointConfig, save
from hmer.models import build


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained transformer checkpoint named `toy`; do not write into it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoints") / "toy"
    config = CheckpointConfig("toy", VOCABULARY.words, model=narrow("transformer"))
    return save(folder, build(config.model, VOCABULARY), config)


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: the toy formulas as PNG and InkML in turn; do not write into it."""
    return write_dataset(tmp_path_factory.mktemp("data") / "toy", FORMULAS, repeats=2, suffix="mixed")


@pytest.fixture(scope="session")
def delta_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with a symbol that the toy vocabulary lacks; do not write into it."""
    return write_dataset(tmp_path_factory.mktemp("data") / "delta", DELTA, repeats=3)
