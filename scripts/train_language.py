"""Give a checkpoint a language model: python scripts/train_language.py FORMULAS --checkpoint REF --data FOLDER --out FOLDER.

The weight of its say is the one of `--weights` with the best ExpRate on `--validation`; confidence is fitted there too.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer import checkpoint as checkpoints
from hmer.calibration import fit_calibration
from hmer.command_line import run
from hmer.config import check
from hmer.datasets.compose import read_formulas
from hmer.datasets.folder import read_dataset, sample
from hmer.datasets.handwriting import shuffled
from hmer.evaluation import evaluate
from hmer.language import LanguageTraining, said, speaking, texts_of, train_language
from hmer.metrics import without
from hmer.models import CtcModel
from hmer.recognizer import Recognizer


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
    parser.add_argument("--ignore", type=list[str], default=[], help="tokens that its labels lack")
    parser.add_argument(
        "--weights", type=list[float], default=[0.1, 0.15, 0.2, 0.25], help="of its say, to choose from"
    )
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
    check(
        not isinstance(checkpoint.model, CtcModel),
        f"{options.checkpoint}: CRNN-CTC writes no next tokens, a language model has no say there.",
    )
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

    items = sample(validation, options.limit)
    best = None
    for weight in options.weights:
        spoken = speaking(checkpoint, language, weight)
        evaluation = evaluate(Recognizer(spoken), items, ignore=options.ignore)
        scores = evaluation.scores
        print(f"weight {weight:g}: ExpRate {scores.exprate:.4f}, token error rate {scores.token_error_rate:.4f}")
        if best is None or scores.exprate > best[0].scores.exprate:
            best = (evaluation, spoken)
    assert best is not None
    evaluation, spoken = best
    right = [
        without(item.tokens, options.ignore) == without(answer.tokens, options.ignore)
        for item, answer in zip(evaluation.items, evaluation.recognitions, strict=True)
    ]
    calibration = fit_calibration([answer.log_prob for answer in evaluation.recognitions], right)
    config = dataclasses.replace(spoken.config, calibration=calibration, name=Path(options.out).name, parent=spoken.id)
    card = (checkpoint.folder / checkpoints.CARD).read_text(encoding="utf-8") if checkpoint.folder else ""
    checkpoints.save(options.out, spoken.model, config, card=card, extra=checkpoint.folder)
    print(f"{options.out}: weight {spoken.config.model.language.weight:g}, calibration {calibration}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
