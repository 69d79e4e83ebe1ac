"""The endpoints for programs: /recognize, /recognize_batch, /save_correction, /list_checkpoints.

Parameter names come from the signatures. A picture is an uploaded file: `handle_file(path)` in gradio_client.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypedDict

from gradio.context import LocalContext
from gradio.events import api as publish
from gradio_client.utils import is_file_obj_with_meta  # type: ignore[import-untyped]

from annotations import Alternative, Prediction
from hmer.config import Decoding
from hmer.errors import BadImage, BadInk, ConfigError
from hmer.recognizer import Recognition
from hmer.ui.decoding_controls import decoding_of
from hmer.ui.messages import explained_to_clients
from hmer.ui.services import CONCURRENT_REQUESTS, Services

BATCH_LIMIT = 64
_DEFAULT = Decoding()
_Strategy = Literal["greedy", "beam", "sample"]


class FileMeta(TypedDict):
    """Marks an uploaded file."""

    _type: Literal["gradio.FileData"]


class UploadedFile(TypedDict):
    """A file that was uploaded to this app: a picture, or strokes (.inkml)."""

    path: str
    meta: FileMeta


def path_of(file: Any) -> Path:
    """Where an uploaded file lies. Raises BadImage for anything else.

    Only what carries the mark has been checked by gradio to lie among the uploads; a bare path could name
    any file of this computer.
    """
    if not is_file_obj_with_meta(file):
        raise BadImage("Send the picture as an uploaded file, as handle_file(path) of gradio_client does.")
    return Path(file["path"])


def bytes_of(file: Any) -> bytes:
    """What an uploaded file holds. Raises BadImage."""
    path = path_of(file)
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadImage(f"{path.name}: is not among the uploads any more; send it again.") from error


def as_json(answer: Recognition) -> dict[str, Any]:
    """An answer as plain data."""
    return {
        "latex": answer.latex,
        "tokens": list(answer.tokens),
        "confidence": answer.confidence,
        "token_confidence": list(answer.token_confidence),
        "alternatives": [{**asdict(other), "tokens": list(other.tokens)} for other in answer.alternatives],
        "checkpoint": answer.checkpoint,
        "seconds": answer.seconds,
        "finished": answer.finished,
    }


def prediction_of(answer: Mapping[str, Any] | None) -> Prediction | None:
    """What /recognize gave, as the store keeps it. Raises ConfigError when it is something else."""
    if not answer:
        return None
    try:
        return Prediction(
            latex=str(answer["latex"]),
            checkpoint=str(answer["checkpoint"]),
            tokens=tuple(str(token) for token in answer.get("tokens", ())),
            confidence=answer.get("confidence"),
            alternatives=tuple(
                Alternative(str(other["latex"]), other.get("probability")) for other in answer.get("alternatives", ())
            ),
            decoding=dict(answer.get("decoding", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("prediction: give what /recognize returned, or nothing.") from error


def checked_text(value: Any, name: str) -> str:
    """What should be text and may be anything that JSON has. Raises ConfigError."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: give text, not {type(value).__name__}.")
    return value


def login() -> str:
    """The name that the present request's sender has logged in with; empty without a login."""
    request = LocalContext.request.get(None)
    return (request.username or "") if request is not None else ""


def without_session(handler: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that leaves no session behind: it needs none, and gradio keeps half a megabyte for each plain request."""

    @functools.wraps(handler)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        finally:
            request, blocks = LocalContext.request.get(None), LocalContext.blocks.get(None)
            if request is not None and blocks is not None and request.session_hash:
                blocks.state_holder.session_data.pop(request.session_hash, None)
                blocks.state_holder.time_last_used.pop(request.session_hash, None)

    return guarded


def endpoints(services: Services) -> dict[str, Callable[..., Any]]:
    """The functions behind the endpoints, by name."""
    reference = services.options.checkpoint

    def recognize(
        image: UploadedFile,
        checkpoint: str = reference,
        strategy: _Strategy = _DEFAULT.strategy,
        beam_width: int = _DEFAULT.beam_width,
        length_penalty: float = _DEFAULT.length_penalty,
        temperature: float = _DEFAULT.temperature,
        top_k: int = _DEFAULT.top_k,
        top_p: float = _DEFAULT.top_p,
        seed: int | None = _DEFAULT.seed,
        max_length: int = _DEFAULT.max_length,
        symbols: str = _DEFAULT.symbols,
        grammar: bool = _DEFAULT.grammar,
    ) -> dict[str, Any]:
        """Read one picture: latex, tokens, confidence, token_confidence, alternatives, checkpoint, seconds, finished."""
        decoding = decoding_of(
            (strategy, beam_width, length_penalty, temperature, top_k, top_p, seed, max_length, symbols, grammar)
        )
        source = path_of(image)
        (answer,) = services.recognize_all([source], decoding, checked_text(checkpoint, "checkpoint"))
        return as_json(answer)

    def recognize_batch(
        images: list[UploadedFile],
        checkpoint: str = reference,
        strategy: _Strategy = _DEFAULT.strategy,
        beam_width: int = _DEFAULT.beam_width,
        length_penalty: float = _DEFAULT.length_penalty,
        temperature: float = _DEFAULT.temperature,
        top_k: int = _DEFAULT.top_k,
        top_p: float = _DEFAULT.top_p,
        seed: int | None = _DEFAULT.seed,
        max_length: int = _DEFAULT.max_length,
        symbols: str = _DEFAULT.symbols,
        grammar: bool = _DEFAULT.grammar,
    ) -> list[dict[str, Any]]:
        """Read up to 64 pictures, in their order; one that cannot be read gives an object with `error`."""
        decoding = decoding_of(
            (strategy, beam_width, length_penalty, temperature, top_k, top_p, seed, max_length, symbols, grammar)
        )
        if not isinstance(images, list):
            raise ConfigError("images: give a list of uploaded files.")
        if len(images) > BATCH_LIMIT:
            raise ConfigError(f"images: {len(images)} in one call; send at most {BATCH_LIMIT}.")
        services.admit(len(images))
        recognizer = services.recognizers.get(checked_text(checkpoint, "checkpoint"))
        results: list[dict[str, Any]] = [{} for _ in images]
        prepared = {}
        for index, image in enumerate(images):
            try:
                prepared[index] = recognizer.read(path_of(image))
            except (BadImage, BadInk) as error:
                results[index] = {"error": str(error)}
        answers = recognizer.recognize_prepared(list(prepared.values()), decoding)
        for index, answer in zip(prepared, answers, strict=True):
            results[index] = as_json(answer)
        return results

    def save_correction(
        image: UploadedFile, correction: str, prediction: dict[str, Any] | None = None, annotator: str = ""
    ) -> dict[str, Any]:
        """Keep a picture with its right LaTeX for training; `prediction` is what /recognize returned.

        Whoever has logged in signs with that name, whatever `annotator` says.
        """
        saved = services.save(
            bytes_of(image), checked_text(correction, "correction"),
            prediction=prediction_of(prediction), annotator=login() or checked_text(annotator, "annotator"),
        )  # fmt: skip
        return {
            "id": saved.annotation.id,
            "created": saved.created or saved.completed,
            "tokens": list(saved.annotation.tokens or ()),
            "count": services.accepted_count(),
        }

    def list_checkpoints() -> list[dict[str, Any]]:
        """The checkpoints that can be chosen: reference and kind, the default first."""
        return [asdict(choice) for choice in services.checkpoints()]

    named = (recognize, recognize_batch, save_correction, list_checkpoints)
    return {function.__name__: function for function in named}


def wire(services: Services) -> None:
    """Publish the endpoints; recognitions share the limit of the page's."""
    for name, function in endpoints(services).items():
        one, many = name == "recognize", name == "recognize_batch"
        publish(
            without_session(explained_to_clients(function)),
            api_name=name,
            concurrency_id="recognize one" if one else "recognize" if many else None,
            concurrency_limit=CONCURRENT_REQUESTS if one else services.options.concurrency if many else 4,
        )
