"""The models by name. A model is built from its settings and a vocabulary."""

from hmer.config import ModelConfig
from hmer.errors import ConfigError
from hmer.models.attention import LstmModel
from hmer.models.base import Encoded, Loss, Model
from hmer.models.ctc import CtcModel
from hmer.models.transformer import TransformerModel
from hmer.vocabulary import Vocabulary

MODELS: dict[str, type[Model]] = {
    "cnn_lstm": LstmModel,
    "crnn_ctc": CtcModel,
    "transformer": TransformerModel,
}


def build(config: ModelConfig, vocabulary: Vocabulary) -> Model:
    """The model that `config.architecture` names, freshly initialised. Raises ConfigError on an unknown name."""
    if config.architecture not in MODELS:
        raise ConfigError(f"Unknown architecture {config.architecture!r}; known are {', '.join(sorted(MODELS))}.")
    return MODELS[config.architecture](config, vocabulary)


__all__ = ["MODELS", "CtcModel", "Encoded", "Loss", "Model", "build"]
