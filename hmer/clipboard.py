"""The clipboard of this computer: a picture from it, a formula into it."""

import subprocess
import sys
import time

import PIL.Image

from hmer.errors import BadImage, ConfigError

# On X11 and Wayland a clipboard lives in the program that filled it, so a process must stay behind. It is forked, which
# only a program can bear that has neither threads nor used the clipboard yet.
_STAY_BEHIND = "import copykitten, sys; copykitten.copy(sys.stdin.buffer.read().decode(), detach=True)"
_PATIENCE_S = 5.0


def read_picture() -> PIL.Image.Image:
    """The picture in the clipboard. Raises BadImage when there is none, ConfigError when there is no clipboard."""
    import copykitten

    try:
        pixels, width, height = copykitten.paste_image()
    except copykitten.CopykittenError as error:
        if "never initialized" in str(error):
            raise ConfigError(
                "There is no clipboard here, as in a terminal of another computer; name a file instead."
            ) from error
        raise BadImage("The clipboard holds no picture. Copy one first, as a screenshot tool does.") from error
    return PIL.Image.frombytes("RGBA", (width, height), bytes(pixels))


def write_text(text: str) -> None:
    """Put text into the clipboard, where it stays when the program ends. Raises ConfigError."""
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _STAY_BEHIND],
        input=text.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False,
    )  # fmt: skip
    give_up = time.monotonic() + _PATIENCE_S
    while _text() != text:
        if time.monotonic() > give_up:
            raise ConfigError("The clipboard did not take the formula; copy it from here.")
        time.sleep(0.05)


def _text() -> str:
    """The clipboard's text; empty where it holds something else."""
    import copykitten

    try:
        return copykitten.paste()
    except copykitten.CopykittenError:
        return ""
