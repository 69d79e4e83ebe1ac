"""Checkpoints of others to use, and one's own to give away, through the Hugging Face Hub. Nothing happens unasked."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer import checkpoint, hub, publish
from hmer.cards import LICENCES
from hmer.ui.decoding_controls import DecodingPanel, checkpoint_choices
from hmer.ui.messages import explained
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
    tag, look = ("pre", "hm-tally hm-listing") if listing else ("p", "hm-tally")
    return f'<{tag} class="{look}" role="status">{html.escape(text)}</{tag}>'


def pull(reference: str, progress: Callable[..., Any]) -> str:
    """Fetch the newest version; gives what to tell. Raises HubError or CheckpointError."""

    def show(there: int, total: int) -> None:
        progress(there / max(total, 1), desc=f"{there / 1e6:.1f} of {total / 1e6:.1f} MB")

    folder = checkpoint.pull(reference.strip(), progress=show)
    return f"{reference.strip()} is here ({checkpoint.identify(folder)}, commit {folder.name[:10]})."


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
    pulled: gr.HTML
    name: gr.Dropdown
    to: gr.Textbox
    licence: gr.Dropdown
    public: gr.Checkbox
    pictures: gr.Checkbox
    show: gr.Button
    push: gr.Button
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
        pushed = gr.HTML("", elem_id="hm-pushed", padding=False)
    return SharePanel(
        owner, look, offers, reference, get, pulled, name, to, licence, public, pictures, show, push, pushed
    )


# --- wiring -----------------------------------------------------------------------------------------------


def panel(services: Services, settings: DecodingPanel) -> None:
    """Layout and wiring; what was pulled can be chosen in the settings at once."""
    parts = layout()

    @explained
    def list_them(owner: str) -> Any:
        found = list_offers(owner)
        label = f"Offered by {owner.strip()}" if found else f"{owner.strip()} offers nothing for hmer."
        return gr.Radio(choices=found, value=None, visible=True, label=label)

    @explained
    def pull_it(reference: str, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - how gradio asks for it
        text = pull(reference, progress)
        return said(text), gr.Dropdown(choices=checkpoint_choices(services))

    @explained
    def show_it(name: str, licence: str, pictures: bool) -> Any:
        return said(plan(name, licence, pictures).listing(), listing=True), gr.Button(interactive=True)

    @explained
    def push_it(name: str, to: str, licence: str, public: bool, pictures: bool) -> Any:
        target = publish.destination(to.strip(), "model")
        pushed = publish.push(plan(name, licence, pictures), target, private=not public)
        text = f"Pushed as {target}@{pushed.tag}: {len(pushed.added)} files sent, {len(pushed.removed)} removed."
        return said(text), gr.Button(interactive=False)

    parts.look.click(list_them, parts.owner, parts.offers, api_visibility="private")
    parts.offers.input(lambda chosen: chosen, parts.offers, parts.reference, **QUIET)
    parts.pull.click(
        pull_it, parts.reference, [parts.pulled, settings.checkpoint], api_visibility="private", concurrency_limit=1,
        show_progress_on=parts.pulled,
    )  # fmt: skip
    decides = [parts.name, parts.licence, parts.pictures]
    parts.show.click(show_it, decides, [parts.pushed, parts.push], api_visibility="private")
    gr.on(
        [part.change for part in decides],  # type: ignore[attr-defined]
        lambda: (said("Look at what travels first."), gr.Button(interactive=False)), None, [parts.pushed, parts.push],
        **QUIET,
    )  # fmt: skip
    parts.push.click(
        push_it, [parts.name, parts.to, parts.licence, parts.public, parts.pictures], [parts.pushed, parts.push],
        api_visibility="private", concurrency_limit=1,
    )  # fmt: skip
    parts.name.focus(lambda: gr.Dropdown(choices=own_checkpoints()), None, parts.name, **QUIET)
