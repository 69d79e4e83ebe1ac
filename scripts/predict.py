"""Read formulas: python scripts/predict.py FILE... [--checkpoint REF] [--strategy beam --beam_width 10] [--json]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from hmer.command_line import run
from hmer.predict import main

if __name__ == "__main__":
    sys.exit(run(main))
