"""Give a checkpoint a language model: python scripts/train_language.py FORMULAS --checkpoint REF --data FOLDER --out FOLDER.

The weight of its say is the one of `--weights` with the best ExpRate on `--validation`.
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer import checkpoint as checkpoints
from hmer.command_line import run
from hmer.config import Decoding, check
from hmer.datasets.folder import read_dataset, sample
from hmer.datasets.formula_lists import read_formulas
from hmer.datasets.handwriting import shuffled
from hmer.evaluation import evaluate
from hmer.language import LanguageTraining, said, speaking, texts_of, train_language
from hmer.metrics import score, without
from hmer.recognizer import Alternative, Recognizer


def main(argv: Sequence[str] | None = None) -> int:
    """Train, choose the weight, write the checkpoint folder."""
    parser = ArgumentParser(prog="train_language.py", allow_abbrev=False, description="A checkpoint's language model.")
    parser.add_argument("formulas", type=str, help="a list of LaTeX, one a line, or source<TAB>LaTeX")
    parser.add_argument("--checkpoint", type=str, required=True)
    parser.add_argument("--data", type=list[str], required=True, help="dataset folders whose captions are read too")
    parser.add_argument("--exclude", type=list[str], default=[], help="dataset folders whose captions are not read")
    parser.add_argument("--cap", type=int, default=20_000, help="the most formulas of one source")
    parser.add_argument("--validation", type=str, required=True, help="dataset folder to choose the weight by")
    parser.add_argument("--limit", type=int, default=0, help="so many items of it (0: all)")
    parser.add_argument("--ignore", nargs="*", type=str, default=[], help="tokens that its labels lack")
    parser.add_argument(
        "--weights", type=list[float], default=[0.05, 0.1, 0.15, 0.2, 0.3], help="of its say, to choose from"
    )
    parser.add_argument("--beam_width", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="processor cores (0: as torch chooses)")
    for field in dataclasses.fields(LanguageTraining):
        parser.add_argument(
            f"--{field.name}", type=field.type, default=field.default, help=f"see {LanguageTraining.__name__}"
        )
    parser.add_argument("--out", type=str, required=True, help="the checkpoint folder to write; must not exist yet")
    options = parser.parse_args(None if argv is None else list(argv))
    settings = LanguageTraining(**{field.name: options[field.name] for field in dataclasses.fields(LanguageTraining)})
    check(not Path(options.out).exists(), f"{options.out}: exists already; choose another folder.")
    check(bool(options.weights), "--weights: name at least one.")
    if options.threads:
        torch.set_num_threads(options.threads)
    checkpoint = checkpoints.load(options.checkpoint)
    form, vocabulary = checkpoint.config.label_form, checkpoint.model.vocabulary
    validation = read_dataset(options.validation, form)
    excluded = {said(item.tokens) for folder in options.exclude for item in read_dataset(folder, form)}
    own = [item.tokens for folder in options.data for item in read_dataset(folder, form)]
    captions = [tuple(vocabulary.encode(said(tokens))) for tokens in own if not vocabulary.missing(tokens)]
    listed = tqdm(shuffled(read_formulas(options.formulas), options.cap), unit="formula", disable=None)
    formulas = texts_of(listed, form, vocabulary, excluded)
    print(f"{len(formulas)} formulas and {len(captions)} captions")
    with tqdm(total=100, unit="%", disable=None) as bar:

        def show(share: float, loss: float) -> None:
            bar.n = int(100 * share)
            bar.set_postfix_str(f"loss {loss:.3f}")

        language = train_language(formulas, captions, vocabulary, settings, show)

    # What the search finds does not hang on the weight, only which of it is the answer.
    search = Decoding(strategy="beam", beam_width=options.beam_width)
    listener = Recognizer(speaking(checkpoint, language, 0.0))
    found = evaluate(listener, sample(validation, options.limit), search, ignore=options.ignore)
    opinions = [
        language.opinions([vocabulary.encode(one.tokens) for one in it.alternatives]) for it in found.recognitions
    ]
    best, chosen = -1.0, 0.0
    for weight in (0.0, *options.weights):
        answers = [ranked(it.alternatives, say, weight) for it, say in zip(found.recognitions, opinions, strict=True)]
        scores = score(found.truths, [*(without(one, options.ignore) for one in answers), *([] for _ in found.unread)])
        print(f"weight {weight:g}: ExpRate {scores.exprate:.4f}, token error rate {scores.token_error_rate:.4f}")
        if weight and scores.exprate > best:
            best, chosen = scores.exprate, weight
    spoken = speaking(checkpoint, language, chosen)
    config = dataclasses.replace(spoken.config, name=Path(options.out).name, parent=spoken.id)
    card = (checkpoint.folder / checkpoints.CARD).read_text(encoding="utf-8") if checkpoint.folder else ""
    checkpoints.save(options.out, spoken.model, config, card=card, extra=checkpoint.folder)
    print(f"{options.out}: weight {chosen:g}")
    return 0


def ranked(alternatives: Sequence[Alternative], opinions: Sequence[float], weight: float) -> tuple[str, ...]:
    """The tokens of the best, when a language model's say has so much weight."""
    scores = [
        math.log(max(one.probability, sys.float_info.min)) + weight * opinion
        for one, opinion in zip(alternatives, opinions, strict=True)
    ]
    return alternatives[scores.index(max(scores))].tokens


if __name__ == "__main__":
    sys.exit(run(main))
