"""Give to the Hugging Face Hub: a checkpoint, or collected annotations as a data set.

    python scripts/push.py checkpoint mine --to ada/my-writing --dry_run
    python scripts/push.py checkpoint mine --to ada/my-writing --evaluation figures.json
    python scripts/push.py annotations --to ada/my-formulas --licence cc-by-4.0 --rights

What would travel is listed first, and what it would remove from the repository; --dry_run stops there. Repositories are
made private unless --public is given. The token is the one of `hf auth login`, or HF_TOKEN.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser, Namespace

from annotations import AnnotationStore, Status, write_dataset
from hmer import hub, publish
from hmer.command_line import parse_time, progress_bar, run
from hmer.errors import HubError
from hmer.home import store_url


def main(argv: Sequence[str] | None = None) -> int:
    """List what travels, push it, and name the commit."""
    arguments = build_parser().parse_args(None if argv is None else list(argv))
    command: str = arguments.subcommand
    return {"checkpoint": push_checkpoint, "annotations": push_annotations}[command](arguments[command])


def build_parser() -> ArgumentParser:
    """The command line, one subparser for each kind of repository."""
    parser = ArgumentParser(prog="push.py", allow_abbrev=False, description="Give to the Hugging Face Hub.")
    subcommands = parser.add_subcommands()
    for name, explanation in {
        "checkpoint": "A checkpoint, as a model repository.",
        "annotations": "Accepted annotations, as a dataset repository in imagefolder form.",
    }.items():
        sub = ArgumentParser(description=explanation, allow_abbrev=False)
        if name == "checkpoint":
            sub.add_argument("checkpoint", type=str, help="a name or a checkpoint folder")
        sub.add_argument("--to", type=str, required=True, help="owner/name on the Hub")
        sub.add_argument("--licence", type=str, default="", help="such as cc-by-4.0")
        sub.add_argument("--public", action="store_true", help="make a new repository public")
        sub.add_argument("--tag", type=str, default="", help="of this version (default: v1, v2 and so on)")
        sub.add_argument("--message", type=str, default="", help="of the commit")
        sub.add_argument("--dry_run", action="store_true", help="only list what would travel; nothing is sent")
        sub.add_argument(
            "--replace", action="store_true",
            help="also remove and replace what hmer did not put into the repository",
        )  # fmt: skip
        if name == "checkpoint":
            sub.add_argument("--parent_licence", type=str, default="", help="of a parent that is not on this computer")
            sub.add_argument("--base_model", type=str, default="", help="owner/name of the parent on the Hub")
            sub.add_argument("--datasets", nargs="*", type=str, default=[], help="owner/name of its training data")
            sub.add_argument("--evaluation", nargs="*", type=str, default=[], help="JSON files of evaluate.py")
            sub.add_argument(
                "--include_correction_pictures", action="store_true",
                help="also send the pictures in replay/ and regression/ that people drew or uploaded as corrections",
            )  # fmt: skip
        else:
            sub.add_argument(
                "--store", type=str | None, help="annotation store: path or URL (default: under HMER_HOME)"
            )
            sub.add_argument("--annotator", type=str | None, help="only this annotator's")
            sub.add_argument("--source", type=str | None, help="only from this source")
            sub.add_argument("--since", type=str | None, help="made at or after this time: 2026-11-30")
            sub.add_argument("--held_out_share", type=float, default=0.0, help="share of formulas for the test split")
            sub.add_argument("--rights", action="store_true", help=f'state that: "{publish.RIGHTS}"')
        subcommands.add_subcommand(name, sub, help=explanation)
    return parser


def push_checkpoint(options: Namespace) -> int:
    """Push a checkpoint."""
    plan = publish.checkpoint_plan(
        options.checkpoint,
        licence=options.licence,
        parent_licence=options.parent_licence,
        base_model=options.base_model,
        datasets=options.datasets,
        evaluations=options.evaluation,
        pictures=options.include_correction_pictures,
    )
    return _send(plan, options)


def push_annotations(options: Namespace) -> int:
    """Push the accepted annotations; who made them is left out."""
    to = publish.destination(options.to, "dataset")
    with tempfile.TemporaryDirectory(prefix="hmer-push-") as working:
        dataset = Path(working) / "dataset"
        with AnnotationStore(options.store or store_url(), create=False) as store:
            write_dataset(
                store, dataset, statuses=(Status.ACCEPTED,), annotator=options.annotator, source=options.source,
                since=parse_time(options.since), held_out_share=options.held_out_share,
            )  # fmt: skip
        plan = publish.dataset_plan(
            dataset, Path(working) / "imagefolder", licence=options.licence, title=to.id.partition("/")[2],
            rights=options.rights,
        )  # fmt: skip
        return _send(plan, options)


def _send(plan: publish.Plan, options: Namespace) -> int:
    """List, then push unless it is a dry run."""
    to = publish.destination(options.to, plan.kind)
    print(plan.listing(), flush=True)
    try:
        changes = hub.changes(to, plan.files)
        print(publish.told(changes, to), flush=True)
    except HubError as error:
        if not options.dry_run:
            raise
        print(f"what {to} holds now is not known: {error}")
    if options.dry_run:
        print("nothing was sent")
        return 0
    with progress_bar(str(to)) as show:
        pushed = publish.push(
            plan, to, private=not options.public, tag=options.tag, message=options.message,
            seen=changes, replace_foreign=options.replace, progress=show,
        )  # fmt: skip
    print(f"{pushed.url}: {len(pushed.added)} files sent, {len(pushed.removed)} removed, commit {pushed.commit}")
    print(f"use it as {to}@{pushed.tag}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
