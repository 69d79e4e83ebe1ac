"""What is made of weights and takes time to make: kept for as long as they stay as they are."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Something made of weights, see `get`; empty at first, and so is every copy of it."""

    def __init__(self) -> None:
        self._known: tuple[Made, Hashable] | None = None
        self._held: list[tuple[Tensor, int]] = []  # what it was made of, and which version

    def get(self, sources: Sequence[Tensor], make: Callable[[], Made], *, way: Hashable = None) -> Made:
        """What `make` makes of the sources, anew if they changed since, or if it is to be made in another `way`."""
        if any(tensor.is_inference() for tensor in sources):  # such do not count their changes
            return make()
        if self._known is None or self._known[1] != way or not self._are_as_held(sources):
            self._known = make(), way
            # Detached they share memory, and while it is held no others can come to lie there.
            self._held = [(tensor.detach(), tensor._version) for tensor in sources]
        return self._known[0]

    def _are_as_held(self, sources: Sequence[Tensor]) -> bool:
        return len(sources) == len(self._held) and all(
            tensor._version == version and tensor.data_ptr() == held.data_ptr()
            for tensor, (held, version) in zip(sources, self._held, strict=True)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy would be of tensors that count their changes anew: it knows nothing."""
        return Kept, ()
