"""What hmer raises when something the user controls is wrong.

    HmerError
    +-- BadImage          a picture that cannot be read, or holds nothing to read
    +-- BadInk            strokes (InkML, SymLG) that cannot be read
    +-- LatexError        LaTeX that is not well-formed; knows where
    +-- ConfigError       a setting that does not exist or has an impossible value
    +-- DatasetError      a dataset folder that breaks the contract
    +-- RenderError       typesetting is not installed, or does not work
    +-- CheckpointError   a checkpoint that is missing, damaged or of another kind
    +-- StoreError        the annotation database cannot be used
    +-- LimitError        more was asked for than this server gives to one visitor
    +-- HubError          the Hub cannot be reached or refuses, or what it holds is not what it should be

Every message says what is wrong, with which item, and what to do about it.
"""


class HmerError(Exception):
    """Base of every error that hmer raises on purpose; its text is meant for people."""


class BadImage(HmerError):
    """The picture cannot be read, is blank, or has a size that no formula has."""


class BadInk(HmerError):
    """An ink file (InkML, SymLG) is damaged or holds no stroke."""


class LatexError(HmerError):
    """The LaTeX is not well-formed.

    `start` and `end` delimit the offending part: character offsets into the string that was given.
    """

    def __init__(self, message: str, start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.start = start
        self.end = end


class ConfigError(HmerError):
    """A setting is unknown or its value is impossible; the message names the key."""


class DatasetError(HmerError):
    """A dataset folder breaks its contract; the message names file and line."""


class RenderError(HmerError):
    """TeX (or another typesetter) is not installed or does not work; what is wrong with one formula is no RenderError."""


class CheckpointError(HmerError):
    """A checkpoint is missing, damaged, or does not fit its configuration."""


class StoreError(HmerError):
    """The annotation store cannot be opened, read or written; nothing saved is lost."""


class LimitError(HmerError):
    """More was asked for than a public server gives; the message says when or how much."""


class HubError(HmerError):
    """The Hub cannot be reached, refuses, or holds something unfit; nothing on this computer was changed."""
