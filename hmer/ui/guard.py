"""Requests that no page of ours sends: gradio would fetch what they name, or answer with a stack trace in the log."""

import logging
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from gradio_client.utils import is_http_url_like  # type: ignore[import-untyped]

log = logging.getLogger(__name__)


class GuardedBlocks(gr.Blocks):
    """Blocks that refuse in words what they cannot take, before any handler sees it."""

    async def preprocess_data(self, *arguments: Any, **named: Any) -> Any:
        """As gradio does; raises gr.Error for whatever does not fit the function that was asked for."""
        inputs = named.get("inputs", arguments[1] if len(arguments) > 1 else None)
        try:
            if _names_an_address(inputs):
                raise ValueError("a file at an address of the internet")
            return await super().preprocess_data(*arguments, **named)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            log.info("a request was refused: %s: %s", type(error).__name__, str(error)[:200])
            said = "This is not what is asked for here: see Use via API. Send files as uploads."
            raise gr.Error(said, print_exception=False) from error


def _names_an_address(value: Any) -> bool:
    """Whether a file is named that gradio would fetch: no request leaves this computer."""
    if isinstance(value, dict):
        path = value.get("path")
        return (isinstance(path, str) and is_http_url_like(path)) or any(map(_names_an_address, value.values()))
    return isinstance(value, list) and any(map(_names_an_address, value))


def _no_request(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "This is not a request that is understood here; see Use via API."}, status_code=422)


def _nothing_there(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "There is nothing of that name here; see Use via API."}, status_code=404)


# gradio looks functions up by what the request says they are called, and does not expect to find none. FastAPI would
# repeat what it does not understand, and cannot where that is no JSON (NaN).
APP_SETTINGS: dict[str, Any] = {
    "exception_handlers": {
        RequestValidationError: _no_request,
        FnIndexInferError: _nothing_there,
        KeyError: _nothing_there,
    }
}
