"""Where hmer keeps a person's data: one folder, `HMER_HOME`, by default the platform's user data folder."""

import os
from pathlib import Path
from urllib.parse import quote

import platformdirs

from hmer.errors import ConfigError


def data_home() -> Path:
    """The folder for annotations, fine-tuned and pulled checkpoints and logs; made when it is missing.

    Raises ConfigError when the folder cannot be made or written to.
    """
    named = os.environ.get("HMER_HOME")
    home = Path(named).expanduser().absolute() if named else platformdirs.user_data_path("hmer")
    remedy = "set HMER_HOME to a folder that you can write to"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The data folder {home} cannot be made ({error.strerror}); {remedy}.") from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise ConfigError(f"The data folder {home} cannot be written to; {remedy}.")
    return home


def store_url() -> str:
    """The SQLAlchemy URL of the annotation store in the data folder."""
    return "sqlite:///" + quote(str(data_home() / "annotations.db"), safe="/:\\")
