"""The command `hmer`: the app, and reading formulas without it."""

import sys
from collections.abc import Sequence

from hmer.command_line import run

USAGE = """usage: hmer app [--port 7860 ...]            the app, in the browser
       hmer predict FILE... [--json ...]     LaTeX of pictures and .inkml files
       hmer --clipboard [--form mathml ...]  LaTeX of the picture in the clipboard, put there instead

hmer app --help and hmer predict --help list all settings.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Start what the first word names; 2 with the usage for any other."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command == "app":
        from hmer.ui import serve

        return serve.main(arguments[1:])
    if command == "predict" or "--clipboard" in arguments:
        from hmer import predict

        return run(predict.main, arguments[1:] if command == "predict" else arguments)
    asked = command in ("", "--help", "-h")
    (sys.stdout if asked else sys.stderr).write(USAGE)
    return 0 if asked else 2
