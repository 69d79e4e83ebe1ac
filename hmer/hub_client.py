"""The Hub's own client as `hmer.hub` uses it: every wait bounded, and what it raises said so that a person can act."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub import errors as client_errors
from huggingface_hub.utils import get_session, parse_ratelimit_headers

from hmer import __version__
from hmer.errors import HmerError, HubError

TIMEOUT_S = 15.0  # without a byte from the other side
PUSH_TIMEOUT_S = 120.0  # a commit of many files takes its time
LONGEST_WAIT_S = 60.0  # that a server may ask for (Retry-After)
RETRIES = 3  # of a request that brings nothing; a download that still brings something goes on


def client() -> huggingface_hub.HfApi:
    """The client, with every wait of its session bounded."""
    session = get_session()
    for event, hook in (("request", _bound_the_wait), ("response", _refuse_long_waits)):
        hooks = session.event_hooks
        if hook not in hooks[event]:
            session.event_hooks = {**hooks, event: [*hooks[event], hook]}
    return huggingface_hub.HfApi(library_name="hmer", library_version=__version__)


def _bound_the_wait(request: httpx2.Request) -> None:
    timeout = request.extensions.get("timeout") or {}
    answer_s = TIMEOUT_S if request.method in ("GET", "HEAD") else PUSH_TIMEOUT_S
    limits = {"connect": TIMEOUT_S, "read": answer_s, "write": answer_s, "pool": PUSH_TIMEOUT_S}
    bounded = {name: timeout.get(name) or limit for name, limit in limits.items()}
    request.extensions = {**request.extensions, "timeout": bounded}


def _refuse_long_waits(response: httpx2.Response) -> None:
    """The client would sleep for as long as a server says."""
    limit = parse_ratelimit_headers(response.headers)
    wait = max(_retry_after(response), limit.reset_in_seconds if limit is not None and limit.remaining == 0 else 0)
    if (response.status_code == 429 or response.status_code >= 500) and wait > LONGEST_WAIT_S:
        trouble = (
            "has had too many requests" if response.status_code == 429 else f"is in trouble ({response.status_code})"
        )
        raise HubError(f"The Hub {trouble} and asks to wait {wait:.0f} seconds; try again then.")


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isdigit() else 1.0


def patiently(call: Callable[[], Any]) -> Any:
    """Call again after the wait that an overloaded server asks for, where the client itself does not."""
    for _ in range(RETRIES - 1):
        try:
            return call()
        except client_errors.HfHubHTTPError as error:
            if error.response.status_code != 429:
                raise
            time.sleep(_retry_after(error.response))
    return call()


@contextlib.contextmanager
def explained(repository: object, revision: str) -> Iterator[None]:
    """Turn what the client raises into a HubError that a person can act on."""
    try:
        yield
    except HmerError:
        raise
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        # An upload's failure comes wrapped in a RuntimeError.
        cause = error.__cause__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, HubError):
            raise cause from error
        if not isinstance(cause, (httpx2.HTTPError, OSError, ValueError)):
            raise
        raise HubError(f"{repository}: {_reason(revision, cause)}") from error


def _reason(revision: str, error: Exception) -> str:
    """What a failure means to a person, and what to do."""
    if isinstance(error, client_errors.OfflineModeIsEnabled):
        return "is not on this computer, and HF_HUB_OFFLINE forbids to ask the Hub."
    if isinstance(error, client_errors.HfHubHTTPError):
        return _refusal(revision, error)
    if isinstance(error, httpx2.HTTPError):
        host = httpx2.URL(huggingface_hub.constants.ENDPOINT).host
        trouble = "does not answer" if isinstance(error, httpx2.TimeoutException) else f"cannot be reached ({error})"
        return f"{host} {trouble}. Check the network; what was pulled before works without it."
    if isinstance(error, ValueError):
        return f"the Hub or its client refuses ({' '.join(str(error).split())})."
    return f"cannot be written to the data folder ({getattr(error, 'strerror', None) or error})."


def _refusal(revision: str, error: client_errors.HfHubHTTPError) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())[:200]
    if isinstance(error, client_errors.GatedRepoError):
        return "its owner asks to accept terms first, on its page on the Hub."
    if isinstance(error, client_errors.RevisionNotFoundError):
        return f"has no branch, tag or commit {revision!r}."
    if isinstance(error, client_errors.RepositoryNotFoundError):
        return "there is none, or it is private and your token (or none) may not see it."
    known = {
        401: "the Hub does not accept the token; log in anew with `hf auth login`, or set HF_TOKEN.",
        403: f"your token may not do that ({said}); use one with write rights.",
        409: f"somebody else changed it at the same time ({said}); push again.",
        412: "somebody else pushed to it meanwhile; push again.",
        429: "the Hub has had too many requests; try again in a few minutes.",
    }
    if status >= 500:
        return f"the Hub is in trouble ({status}); try again later."
    return known.get(status) or f"the Hub refused ({status}, {said})."
