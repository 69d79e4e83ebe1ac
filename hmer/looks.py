"""Where a model looks in a picture while it writes each token."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hmer.errors import ConfigError
from hmer.image import Grey
from hmer.models import CtcModel
from hmer.recognizer import Recognizer

Look = tuple[str, npt.NDArray[np.float32]]


@torch.inference_mode()
def looks(recognizer: Recognizer, picture: Grey, tokens: Sequence[str]) -> list[Look]:
    """The attention (rows, columns) that each token was written with, given the ones before it.

    `picture` as `Recognizer.read` gives it. Raises ConfigError for a model that does not look at the picture again.
    """
    model, config = recognizer.model, recognizer.config.model
    if isinstance(model, CtcModel) or (config.architecture == "cnn_lstm" and config.attention == "none"):
        raise ConfigError(f"{recognizer.id}: this model has no attention to the picture; choose another checkpoint.")
    encoded = recognizer.encode([picture])
    step, state, last = model.start(encoded, 1)
    rows, columns = encoded.grid
    tall, wide = _part_of_map(picture, recognizer)
    found: list[Look] = []
    for token, number in zip(tokens, model.vocabulary.encode(list(tokens)), strict=True):
        _, state = step(last, state)
        weights = torch.zeros(rows * columns, device=last.device)
        weights.scatter_add_(0, encoded.places[0], state["attention"][0].float() * encoded.mask[0])
        grid = weights.view(rows, columns)[:tall, :wide].cpu()
        found.append((token, np.asarray(grid, np.float32)))
        last = torch.tensor([number], device=last.device)
    return found


def _part_of_map(picture: Grey, recognizer: Recognizer) -> tuple[int, int]:
    """Rows and columns of the encoder's map that the picture takes; a fixed size may leave paper beside it."""
    height, width = picture.shape
    config = recognizer.config.model
    if config.input.fixed:
        tall, wide = config.input.height_px, config.input.width_px
        factor = min(tall / height, wide / width)
        height, width = (round(height * factor), round(width * factor)) if config.input.keep_aspect else (tall, wide)
    return -(-height // config.encoder_stride), -(-width // config.encoder_stride)
