"""Starting the app: its command line and its server. app.py and `hmer app` are this."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields

from hmer.errors import HmerError
from hmer.home import data_home
from hmer.memory import share_heaps
from hmer.ui.options import AppOptions, for_this_place

HELP = {
    "host": "address to listen on; 0.0.0.0 lets other computers in (then set --auth)",
    "port": "port to listen on",
    "checkpoint": "a bundled name, the name of a fine-tuned one, a checkpoint folder, or hf://owner/name",
    "store": "path or SQLAlchemy URL of the annotation store (default: annotations.db in HMER_HOME)",
    "auth": "user:password that is asked for (default: none)",
    "max_file_mb": "largest upload in MB",
    "queue_size": "how many requests may wait",
    "concurrency": "how many pictures are read at once",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line: one flag a field of AppOptions."""
    parser = argparse.ArgumentParser(prog="hmer app", description="Pictures of mathematics to LaTeX, in the browser.")
    for item in fields(AppOptions):
        shown = f" (default: {item.default})" if item.default != "" else ""
        parser.add_argument(
            f"--{item.name}", type=type(item.default), default=item.default, help=HELP[item.name] + shown
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl+C; 1 with one line on stderr when it cannot start."""
    arguments = build_parser().parse_args(argv)
    share_heaps()
    try:
        options = for_this_place(AppOptions(**vars(arguments)))
        return serve(options)
    except HmerError as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port} ({error}); try another --port.\n")
    except KeyboardInterrupt:
        return 0
    return 1


def serve(options: AppOptions) -> int:
    """Build the app, say where it is, and wait."""
    home = data_home()
    # Read by gradio and huggingface_hub when they are imported: nothing is sent unasked, uploads stay in the data folder.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(home / "uploads"))
    os.environ.setdefault("MPLCONFIGDIR", str(home / "cache" / "matplotlib"))  # it notes which fonts there are
    from hmer.ui.build import build_app, launch, wait  # slow to import

    blocks = build_app(options)
    url = launch(blocks, options)
    kept = "\ncorrections  in the store that --store names" if options.store else ""
    sys.stdout.write(f"hmer is at {url}\ncheckpoint   {options.checkpoint}\ndata folder  {home}{kept}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how servers are stopped: end as with Ctrl+C
    try:
        wait()
    finally:
        blocks.close()
    return 0
