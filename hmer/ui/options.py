"""What the app is started with. Imports nothing slow, so that `python app.py --help` is quick."""

import os
from dataclasses import dataclass, replace

from hmer.config import AUTOMATIC, check

DEFAULT_CHECKPOINT = AUTOMATIC


@dataclass(frozen=True)
class AppOptions:
    """Settings of one running app, checked when built; raises ConfigError.

    `checkpoint` is a checkpoint reference, or `automatic`: see hmer.routing. `store` is a path or an SQLAlchemy URL; empty: the one in the data
    folder. `auth` is `user:password`; empty: everybody who reaches the port may use the app. `concurrency` is how
    many pictures are read at once, `queue_size` how many may wait.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    checkpoint: str = DEFAULT_CHECKPOINT
    store: str = ""
    auth: str = ""
    max_file_mb: int = 20
    queue_size: int = 64
    concurrency: int = 2

    def __post_init__(self) -> None:
        check(bool(self.host.strip()), "--host: is empty; give an address such as 127.0.0.1.")
        check(0 < self.port < 65_536, f"--port: {self.port} is outside 1 to 65,535.")
        check(bool(self.checkpoint.strip()), "--checkpoint: is empty; give a bundled name or a folder.")
        check(1 <= self.max_file_mb <= 100, f"--max_file_mb: {self.max_file_mb} is outside 1 to 100 MB.")
        check(1 <= self.queue_size <= 10_000, f"--queue_size: {self.queue_size} is outside 1 to 10,000.")
        check(1 <= self.concurrency <= 64, f"--concurrency: {self.concurrency} is outside 1 to 64.")
        user, colon, password = self.auth.partition(":")
        check(not self.auth or bool(user and colon and password), "--auth: give user:password, both not empty.")

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password, or None when none is asked for."""
        user, _, password = self.auth.partition(":")
        return (user, password) if user else None


def on_a_space() -> bool:
    """Whether this is a Hugging Face Space: strangers use it, and its disk does not last."""
    return os.environ.get("SYSTEM") == "spaces"


def for_this_place(options: AppOptions) -> AppOptions:
    """The options as they are on one's own computer; on a Space open to all addresses, and within its limits."""
    if not on_a_space():
        return options
    return replace(
        options,
        host="0.0.0.0" if options.host == AppOptions.host else options.host,  # noqa: S104 - a Space's proxy is outside
        store="sqlite://",  # in memory: see hmer.ui.space
        max_file_mb=min(options.max_file_mb, 5),
        queue_size=min(options.queue_size, 20),
    )
