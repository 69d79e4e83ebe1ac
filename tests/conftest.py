"""What several tests start from: a checkpoint that is made in a moment, small dataset folders, an annotation store.

HMER_TEST_DATABASE, an SQLAlchemy URL of a PostgreSQL database, makes the tests of the store run against that, too.
"""

import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

# Read by huggingface_hub when it is imported, here and in what the tests start: its Hub is a port of this computer,
# where nobody listens but the tests' own server, and its login and cache lie in an empty folder.
with socket.socket() as _probe:
    _probe.bind(("127.0.0.1", 0))
    HUB_PORT = _probe.getsockname()[1]
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{HUB_PORT}"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # of gradio_client, which would report to the Hub
_HUB_HOME = tempfile.TemporaryDirectory(prefix="hmer-tests-hub-")
os.environ["HF_HOME"] = _HUB_HOME.name
os.environ.pop("HF_TOKEN", None)

import pytest
import torch
from hub_server import WRITE_TOKEN, HubServer
from huggingface_hub import close_session
from sqlalchemy import create_engine, make_url
from toys import DELTA, FORMULAS, VOCABULARY, narrow, write_dataset

from annotations import AnnotationStore
from hmer.checkpoint import CheckpointConfig, save
from hmer.models import build

SERVER = os.environ.get("HMER_TEST_DATABASE", "")


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


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is begun: bringing up its schema costs more than many a test."""
    path = tmp_path_factory.mktemp("store") / "annotations.db"
    AnnotationStore(path).close()
    return path


@pytest.fixture
def sqlite_store(_empty_store: Path, tmp_path: Path) -> Iterator[AnnotationStore]:
    shutil.copyfile(_empty_store, tmp_path / "annotations.db")
    with AnnotationStore(tmp_path / "annotations.db") as store:
        yield store


@pytest.fixture(params=["sqlite", *(["server"] if SERVER else [])])
def store(request: pytest.FixtureRequest) -> AnnotationStore:
    """A new store of every kind that is at hand; what is particular to SQLite's file asks for `sqlite_store`."""
    chosen: AnnotationStore = request.getfixturevalue(f"{request.param}_store")
    return chosen


@pytest.fixture
def server_store() -> Iterator[AnnotationStore]:
    """A store in a schema of its own on the PostgreSQL server that HMER_TEST_DATABASE names."""
    url, schema = make_url(SERVER), f"hmer_test_{uuid.uuid4().hex}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    try:
        with AnnotationStore(
            url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
        ) as store:
            yield store
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        engine.dispose()


@pytest.fixture
def hub_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub of its own, where `ada` may write; she is logged in."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    with HubServer(tmp_path_factory.mktemp("hub"), HUB_PORT) as server:
        yield server
    close_session()  # its connections would still be answered by this server


@pytest.fixture
def data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder (HMER_HOME) of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HMER_HOME", str(home))
    return home
