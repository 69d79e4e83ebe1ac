"""Checkpoints of others to use, and one's own to give away, through the Hugging Face Hub. Nothing happens unasked."""

import html
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer import checkpoint, hub, publish
from hmer.cards import LICENCES
from hmer.errors import HubError
from hmer.ui.decoding_controls import DecodingPanel, checkpoint_choices
from hmer.ui.messages import explained, warn
from hmer.ui.options import AppOptions
from hmer.ui.services import Services

COMMON_LICENCES = ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0", *LICENCES)
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


# --- functions --------------------------------------------------------------------------------------------


def offered(options: AppOptions) -> bool:
    """Whether the panel is shown: whoever uses it acts with the token of this computer's owner."""
    return options.host in ("127.0.0.1", "localhost", "::1") or options.login is not None


def said(text: str, *, listing: bool = False) -> str:
    """HTML of a message to the person."""
    tag, look = ("pre", 'class="hm-tally hm-listing" tabindex="0"') if listing else ("p", 'class="hm-tally"')
    return f'<{tag} {look} role="status">{html.escape(text)}</{tag}>'


class Stopped(HubError):
    """A person pressed Cancel."""


class Stops:
    """What each visit has under way, so that its Cancel button stops that and nobody else's."""

    def __init__(self) -> None:
        self._running: dict[str, threading.Event] = {}

    def begin(self, visit: str, progress: Callable[..., Any]) -> hub.Progress:
        """Shows progress on the page, and raises Stopped once the visit asks for it."""
        asked = self._running[visit] = threading.Event()

        def show(there: int, total: int) -> None:
            if asked.is_set():
                raise Stopped("Stopped. Begin again to go on; what is on the Hub has not changed.")
            progress(there / max(total, 1), desc=f"{there / 1e6:.1f} of {total / 1e6:.1f} MB")

        return show

    def ask(self, visit: str) -> str:
        """Ask what runs to stop; gives what to tell."""
        event = self._running.get(visit)
        if event is not None:
            event.set()
        return "Stopping…"

    def end(self, visit: str) -> None:
        """Nothing runs any more."""
        self._running.pop(visit, None)


def pull(reference: str, progress: hub.Progress) -> str:
    """Fetch the newest version; gives what to tell. Raises HubError or CheckpointError."""
    folder = checkpoint.pull(reference.strip(), progress=progress)
    removed = len(checkpoint.remove_superseded(reference.strip()))
    earlier = f" {removed} earlier version{'s' if removed > 1 else ''} of it removed." if removed else ""
    return f"{reference.strip()} is here ({checkpoint.identify(folder)}, commit {folder.name[:10]}).{earlier}"


def visit_of(request: gr.Request) -> str:
    """The visit that asks."""
    return request.session_hash or ""


def list_offers(owner: str) -> list[tuple[str, str]]:
    """Label and reference of what somebody offers. Raises HubError."""
    return [
        (" · ".join(filter(None, (offer.reference, offer.licence, offer.updated))), offer.reference)
        for offer in hub.offers(owner.strip())
    ]


def own_checkpoints() -> list[str]:
    """What can be given away: the fine-tuned ones first."""
    return [*checkpoint.fine_tuned(), *checkpoint.bundled()]


def plan(name: str | None, licence: str | None, pictures: bool) -> publish.Plan:
    """What would travel. Raises CheckpointError or HubError."""
    return publish.checkpoint_plan(name or "", licence=(licence or "").strip(), pictures=pictures)


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharePanel:
    """The components."""

    owner: gr.Textbox
    look: gr.Button
    offers: gr.Radio
    reference: gr.Textbox
    pull: gr.Button
    stop_pull: gr.Button
    pulled: gr.HTML
    name: gr.Dropdown
    to: gr.Textbox
    licence: gr.Dropdown
    public: gr.Checkbox
    pictures: gr.Checkbox
    show: gr.Button
    push: gr.Button
    stop_push: gr.Button
    seen: gr.State  # hub.Changes: what was shown, and no more is done
    pushed: gr.HTML


def layout() -> SharePanel:
    """The accordion, closed at first."""
    with gr.Accordion("Share checkpoints", open=False, elem_id="hm-share"):
        with gr.Row(elem_classes="hm-checkpoint-row"):
            owner = gr.Textbox(label="Offered by", placeholder="person or organisation", elem_id="hm-owner", scale=4)
            look = gr.Button("List", size="sm", scale=1, min_width=90, elem_id="hm-list-offers")
        offers = gr.Radio([], label="Offered", visible=False, elem_id="hm-offers")
        with gr.Row(elem_classes="hm-checkpoint-row"):
            reference = gr.Textbox(
                label="Pull from the Hub", placeholder="hf://owner/name", elem_id="hm-reference", scale=4
            )
            get = gr.Button("Pull", size="sm", scale=1, min_width=90, elem_id="hm-pull")
            stop_pull = gr.Button("Cancel", size="sm", scale=1, min_width=90, visible=False, elem_id="hm-stop-pull")
        pulled = gr.HTML("", elem_id="hm-pulled", padding=False)
        with gr.Row():
            names = own_checkpoints()
            name = gr.Dropdown(names, value=names[0], label="Push to the Hub", elem_id="hm-push-name")
            to = gr.Textbox(label="To", placeholder="owner/name", elem_id="hm-push-to")
            licence = gr.Dropdown(
                ["", *COMMON_LICENCES], value="", allow_custom_value=True, label="Licence (empty: its card’s)",
                elem_id="hm-push-licence",
            )  # fmt: skip
        public = gr.Checkbox(False, label="Everybody may see it", elem_id="hm-push-public")
        pictures = gr.Checkbox(
            False, label="Also send pictures that were drawn or uploaded as corrections", elem_id="hm-push-pictures"
        )
        with gr.Row(elem_classes="hm-buttons"):
            show = gr.Button("Show what travels", elem_id="hm-push-show")
            push = gr.Button("Push", variant="primary", interactive=False, elem_id="hm-push")
            stop_push = gr.Button("Cancel", visible=False, elem_id="hm-stop-push")
        seen = gr.State(None)
        pushed = gr.HTML("", elem_id="hm-pushed", padding=False)
    return SharePanel(
        owner, look, offers, reference, get, stop_pull, pulled,
        name, to, licence, public, pictures, show, push, stop_push, seen, pushed,
    )  # fmt: skip


# --- wiring -----------------------------------------------------------------------------------------------


def panel(services: Services, settings: DecodingPanel) -> None:
    """Layout and wiring; what was pulled can be chosen in the settings at once."""
    parts = layout()

    @explained
    def list_them(owner: str) -> Any:
        found = list_offers(owner)
        label = f"Offered by {owner.strip()}" if found else f"{owner.strip()} offers nothing for hmer."
        return gr.Radio(choices=found, value=None, visible=True, label=label)

    pulling, pushing = Stops(), Stops()

    @explained
    def pull_it(reference: str, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - how gradio asks for it
        try:
            text = pull(reference, pulling.begin(visit_of(request), progress))
        except Stopped as stopped:
            return said(str(stopped)), gr.skip()
        finally:
            pulling.end(visit_of(request))
        return said(text), gr.Dropdown(choices=checkpoint_choices(services))

    @explained
    def show_it(name: str, to: str, licence: str, pictures: bool) -> Any:
        target = publish.destination(to.strip(), "model")
        planned = plan(name, licence, pictures)
        try:
            changes = hub.changes(target, planned.files)
        except HubError as error:
            warn(error)
            return said(planned.listing(), listing=True), gr.Button(interactive=False), None
        text = f"{planned.listing()}\n{publish.told(changes, target)}"
        return said(text, listing=True), gr.Button(interactive=not changes.lost), changes

    @explained
    def push_it(
        name: str,
        to: str,
        licence: str,
        public: bool,
        pictures: bool,
        seen: hub.Changes | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Any:
        target = publish.destination(to.strip(), "model")
        try:
            pushed = publish.push(
                plan(name, licence, pictures), target,
                private=not public, seen=seen, progress=pushing.begin(visit_of(request), progress),
            )  # fmt: skip
        except Stopped as stopped:
            return said(str(stopped)), gr.skip()
        finally:
            pushing.end(visit_of(request))
        text = f"Pushed as {target}@{pushed.tag}: {len(pushed.added)} files sent, {len(pushed.removed)} removed."
        return said(text), gr.Button(interactive=False)

    parts.look.click(list_them, parts.owner, parts.offers, api_visibility="private")
    parts.offers.input(lambda chosen: chosen, parts.offers, parts.reference, **QUIET)

    def with_cancel(
        stops: Stops, button: gr.Button, cancel: gr.Button, told: gr.HTML, work: Any, takes: Any, gives: Any
    ) -> None:
        """Press, watch the progress, cancel: the button for that is there only meanwhile."""

        def stop(request: gr.Request) -> Any:
            # Said on the button: the work may have ended, and told so, before this arrives.
            return gr.Button(stops.ask(visit_of(request)), interactive=False)

        button.click(lambda: gr.Button("Cancel", visible=True, interactive=True), None, cancel, **QUIET)
        button.click(
            work, takes, gives, api_visibility="private", concurrency_limit=1, show_progress_on=told
        ).then(lambda: gr.Button(visible=False), None, cancel, **QUIET)  # fmt: skip
        cancel.click(stop, None, cancel, **QUIET)

    with_cancel(
        pulling,
        parts.pull,
        parts.stop_pull,
        parts.pulled,
        pull_it,
        parts.reference,
        [parts.pulled, settings.checkpoint],
    )
    decides = [parts.name, parts.to, parts.licence, parts.pictures]
    parts.show.click(show_it, decides, [parts.pushed, parts.push, parts.seen], api_visibility="private")
    gr.on(
        [part.change for part in decides],  # type: ignore[attr-defined]
        lambda: (said("Look at what travels first."), gr.Button(interactive=False)), None, [parts.pushed, parts.push],
        **QUIET,
    )  # fmt: skip
    with_cancel(
        pushing, parts.push, parts.stop_push, parts.pushed, push_it,
        [parts.name, parts.to, parts.licence, parts.public, parts.pictures, parts.seen], [parts.pushed, parts.push],
    )  # fmt: skip
    parts.name.focus(lambda: gr.Dropdown(choices=own_checkpoints()), None, parts.name, **QUIET)
