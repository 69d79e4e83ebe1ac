"""What a measurement of hours has found so far, so that one that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """One line of JSON a part of a measurement, written as soon as it is known; without a path nothing is kept.

    `settings` are all that the parts depend on, as JSON can hold it: what was found with others is left alone.
    """

    def __init__(self, path: Path | None, settings: Any) -> None:
        self.path, self.settings = path, settings
        self._known: dict[str, Any] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    self._known[row["key"]] = row["found"]
                except (ValueError, KeyError, TypeError):
                    continue  # cut off when it was written

    def once(self, part: Any, measure: Callable[[], Any]) -> Any:
        """What is known of a part, named by what JSON can hold; else measured and written down."""
        key = hashlib.sha256(json.dumps([self.settings, part]).encode()).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = measure()
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "part": part, "found": self._known[key]}) + "\n")
        return self._known[key]
