"""From items to batches: reading once, drawing and distorting anew each time, grouping by size."""

import bisect
import contextlib
import dataclasses
import difflib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from hmer.augment import Matrix, Random, distort_picture, draw_ink, jitter
from hmer.batch import STRIDE_PX, Batch, SmallPrint
from hmer.config import AugmentConfig, ImageConfig
from hmer.datasets.folder import Item
from hmer.datasets.recombine import Formula, Recombiner, group_end
from hmer.errors import BadImage, BadInk, DatasetError
from hmer.image import Grey, Magnifies, Prepared, pad, read_image
from hmer.ink import Ink, Stroke, Symbol, bounds, read_inkml
from hmer.places import Boxes, read_places
from hmer.vocabulary import PAD_ID, UNWRITTEN, Vocabulary

log = logging.getLogger(__name__)

MAX_BATCH_AREA_PX = 1_600_000
INKED = 204  # a level below which a pixel is ink
_STEP_HEIGHT_PX, _STEP_WIDTH_PX = 8, 32
_LENGTH_GROUPS = (10, 20, 40)  # tokens


@dataclass(frozen=True)
class Sample:
    """One prepared picture with its caption ids; `owners` and `looked_for` as in Batch, None where that is not known.

    `prepared`: how a picture became that, if that is known.
    """

    pixels: Grey
    ids: tuple[int, ...]
    owners: npt.NDArray[np.int16] | None
    looked_for: tuple[int, ...] | None = None
    prepared: Prepared | None = None


def symbol_positions(tokens: Sequence[str], ink: Ink) -> list[int]:
    """For each symbol of the ink the position of its token in the caption, or -1.

    Symbols stand in reading order, so the two sequences are aligned; a fraction bar is labelled `-` in
    CROHME's segmentation and a dot of a row of dots `.`. Where a bar does not lie between its numerator and its denominator,
    it was exchanged with another bar or a minus: then none of them is known.
    """
    same = {"\\frac": "-", "\\cdot": ".", "\\ldots": ".", "\\cdots": "."}
    written = [(position, same.get(token, token)) for position, token in enumerate(tokens) if token not in UNWRITTEN]
    labels = [same.get(symbol.label, symbol.label) for symbol in ink.symbols]
    positions = [-1] * len(labels)
    matcher = difflib.SequenceMatcher(None, [token for _, token in written], labels, autojunk=False)
    for start, start_label, size in matcher.get_matching_blocks():
        for offset in range(size):
            positions[start_label + offset] = written[start + offset][0]
    if not all(_lies_between(index, tokens, ink, positions) for index, token in enumerate(tokens) if token == "\\frac"):
        return [-1 if label == "-" else position for label, position in zip(labels, positions, strict=True)]
    return positions


def _lies_between(index: int, tokens: Sequence[str], ink: Ink, positions: Sequence[int]) -> bool:
    """Whether the bar of the fraction at `index` lies below the middle of its numerator and above its denominator's."""
    middle = group_end(tokens, index + 1)

    def height(first: int, last: int) -> float | None:
        own = [symbol for symbol, place in zip(ink.symbols, positions, strict=True) if first <= place < last]
        boxes = [bounds([ink.strokes[stroke] for stroke in symbol.strokes]) for symbol in own]
        return float(np.mean([(top + bottom) / 2 for _, top, _, bottom in boxes])) if boxes else None

    above, bar, below = height(index + 1, middle), height(index, index + 1), height(middle, group_end(tokens, middle))
    if bar is None:
        return True
    return (above is None or above < bar) and (below is None or bar < below)


def with_dots_joined(tokens: Sequence[str], ink: Ink) -> Ink:
    """Three dots that were segmented apart are one symbol where the caption has a row of dots."""
    if not {r"\ldots", r"\cdots"} & set(tokens) or "." in tokens:
        return ink
    symbols: list[Symbol] = []
    for symbol in ink.symbols:
        symbols.append(symbol)
        if len(symbols) >= 3 and all(last.label == "." and len(last.strokes) == 1 for last in symbols[-3:]):
            joined = tuple(stroke for last in symbols[-3:] for stroke in last.strokes)
            symbols[-3:] = [Symbol(r"\ldots", joined)]
    return dataclasses.replace(ink, symbols=tuple(symbols))


def draw_owners(
    strokes: Sequence[Stroke], ink: Ink, positions: Sequence[int], shape: tuple[int, int]
) -> npt.NDArray[np.int16]:
    """Which symbol covers each cell of the encoder's map: (H/8, W/8) int16, as `Batch.owners`."""
    grid = np.zeros((shape[0] // STRIDE_PX, shape[1] // STRIDE_PX), np.int16)
    cells = [np.round((stroke / STRIDE_PX - 0.5) * 16).astype(np.int32) for stroke in strokes]

    def draw(index: int, value: int) -> None:
        cv2.polylines(grid, [cells[index]], False, value, 1, cv2.LINE_8, 4)

    segmented = {index for symbol in ink.symbols for index in symbol.strokes}
    for index in range(len(cells)):
        if index not in segmented:
            draw(index, -1)
    # Large symbols first, so that a long bar does not hide what stands beside it.
    order = sorted(range(len(ink.symbols)), key=lambda index: -_extent(strokes, ink.symbols[index].strokes))
    for index in order:
        value = positions[index] + 1 if positions[index] >= 0 else -1
        for stroke in ink.symbols[index].strokes:
            draw(stroke, value)
    return grid


def _inked(pixels: Grey) -> npt.NDArray[np.bool_]:
    """Which cells of the encoder's map hold ink: (H/8, W/8)."""
    rows, columns = (side // STRIDE_PX for side in pixels.shape)
    cells = pixels[: rows * STRIDE_PX, : columns * STRIDE_PX].reshape(rows, STRIDE_PX, columns, STRIDE_PX)
    return np.asarray(cells.min(axis=(1, 3)) < INKED)


def box_owners(boxes: Boxes, matrix: Matrix, pixels: Grey) -> npt.NDArray[np.int16]:
    """Which token's box holds the darkest spot of each cell: (H/8, W/8) int16, as `Batch.owners`. `matrix` as in `Moved`."""
    corners = boxes[:, [[1, 2], [3, 2], [1, 4], [3, 4]]] @ matrix[:, :2].T + matrix[:, 2]  # (N, 4, 2)
    low = np.floor(corners.min(axis=1)).astype(int) - 1
    high = np.ceil(corners.max(axis=1)).astype(int) + 1
    owned = np.zeros(pixels.shape, np.int16)
    for index in np.argsort(-(high - low).prod(axis=1)).tolist():  # what is small lies on what is large
        (left, top), (right, bottom) = np.maximum(low[index], 0), np.maximum(high[index], 0)
        owned[top:bottom, left:right] = boxes[index, 0] + 1
    shape = pixels.shape[0] // STRIDE_PX, STRIDE_PX, pixels.shape[1] // STRIDE_PX, STRIDE_PX
    ink, owners = (
        part[: shape[0] * STRIDE_PX, : shape[2] * STRIDE_PX]
        .reshape(shape)
        .swapaxes(1, 2)
        .reshape(shape[0], shape[2], -1)
        for part in (pixels, owned)
    )
    darkest = ink.argmin(axis=2)[..., None]
    found = np.take_along_axis(owners, darkest, 2)[..., 0]
    inked = np.take_along_axis(ink, darkest, 2)[..., 0] < INKED
    return np.where(inked, np.where(found > 0, found, -1), 0).astype(np.int16)


def looked_for(owners: npt.NDArray[np.int16], ids: Sequence[int], written: Sequence[bool]) -> tuple[int, ...]:
    r"""For each token, from 1, which token's cells tell of it: its own, or none (0) for what nobody writes.

    What has no ink of its own, such as `\,` and `\left`, is told by the next that has some: how far off that is, or how tall.
    """
    seen = set(np.unique(owners).tolist())
    found, following = [0] * len(ids), 0
    for place in reversed(range(len(ids))):
        if written[ids[place]]:
            following = place + 1 if place + 1 in seen else following
            found[place] = following
    return tuple(found)


def _extent(strokes: Sequence[Stroke], indices: Sequence[int]) -> float:
    points = np.concatenate([strokes[index] for index in indices])
    return float(np.ptp(points, axis=0).max())


class Source:
    """Items read once into memory and turned into samples, distorted anew at each call.

    `magnifier`: of the model that is to learn from them, on the CPU; see `hmer.image.prepare`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        vocabulary: Vocabulary,
        image: ImageConfig,
        augment: AugmentConfig,
        magnifier: Magnifies | None = None,
    ) -> None:
        self.items = list(items)
        self.vocabulary = vocabulary
        self.image = image
        self.augment = augment
        self.magnifier = magnifier
        self._formulas: dict[int, Formula] = {}
        self._grey: dict[int, Grey] = {}
        self._recombiner: Recombiner | None = None

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, index: int, random: Random | None) -> Sample:
        """The item as a sample; `random` None draws it plain. Raises BadImage or BadInk.

        Where ink is segmented, a share of `augment.recombine` is made from all of it instead of from the item.
        """
        drawn = self._draw(index, random)
        if random is None:
            return drawn
        # Where symbols stand after they were moved is not known.
        if self.augment.moves:
            drawn = Sample(drawn.pixels, drawn.ids, None)
        pixels = jitter(drawn.pixels, self.augment, random)
        return dataclasses.replace(drawn, pixels=pixels, prepared=drawn.prepared if pixels is drawn.pixels else None)

    def _draw(self, index: int, random: Random | None) -> Sample:
        item = self.items[index]
        if item.path.suffix.lower() == ".inkml":
            formula = self._formula(index)
            if random is not None and random.random() < self.augment.recombine and len(self.recombiner):
                formula = self.recombiner.make(random)
            drawn = draw_ink(formula.ink, self.image, self.augment, random)
            ids = tuple(self.vocabulary.encode(formula.tokens))
            if not formula.ink.symbols:
                return Sample(drawn.pixels, ids, None)
            owners = draw_owners(drawn.strokes, formula.ink, formula.positions, drawn.pixels.shape)
            owners[(owners == 0) & _inked(drawn.pixels)] = -1  # the rim of a broad line: somebody's, but whose?
            return Sample(drawn.pixels, ids, owners)
        if index not in self._grey:
            self._grey[index] = read_image(item.path)
        others = self._grey.values() if random is not None and self.augment.print else ()
        neighbour = next(iter(others), None)  # any will do
        moved = distort_picture(self._grey[index], self.image, self.augment, random, neighbour, self.magnifier)
        ids = tuple(self.vocabulary.encode(item.tokens))
        boxes = None if moved.matrix is None else read_places(item.places)
        if boxes is None or moved.matrix is None:
            return Sample(moved.pixels, ids, None, None, moved.prepared)
        owners = box_owners(boxes, moved.matrix, moved.pixels)
        return Sample(moved.pixels, ids, owners, looked_for(owners, ids, self.vocabulary.written), moved.prepared)

    def _formula(self, index: int) -> Formula:
        if index not in self._formulas:
            item = self.items[index]
            ink = with_dots_joined(item.tokens, read_inkml(item.path))
            positions = tuple(symbol_positions(item.tokens, ink))
            self._formulas[index] = Formula(item.tokens, ink, positions, item.writer)
        return self._formulas[index]

    @property
    def recombiner(self) -> Recombiner:
        """Built at first use: it takes all ink of the source."""
        if self._recombiner is None:
            formulas = []
            for index, item in enumerate(self.items):
                if item.path.suffix.lower() == ".inkml":
                    with contextlib.suppress(BadInk):  # named when the item's own turn comes
                        formulas.append(self._formula(index))
            self._recombiner = Recombiner(formulas)
        return self._recombiner


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch from samples, padded to a size from a coarse grid, so that few shapes occur (see STRIDE_PX)."""
    height = _round_up(max(sample.pixels.shape[0] for sample in samples), _STEP_HEIGHT_PX)
    width = _round_up(max(sample.pixels.shape[1] for sample in samples), _STEP_WIDTH_PX)
    images, sizes = pad([sample.pixels for sample in samples], height, width)
    lengths = torch.tensor([len(sample.ids) for sample in samples])
    tokens = torch.full((len(samples), _round_up(int(lengths.max()) + 1, 4) - 1), PAD_ID)
    located = torch.tensor([sample.owners is not None for sample in samples])
    owners = torch.full((len(samples), height // STRIDE_PX, width // STRIDE_PX), -1, dtype=torch.int16)
    looked_for = (torch.arange(tokens.shape[1]) + 1).repeat(len(samples), 1)
    for index, sample in enumerate(samples):
        tokens[index, : len(sample.ids)] = torch.tensor(sample.ids)
        if sample.owners is not None:
            rows, columns = sample.owners.shape
            owners[index, :rows, :columns] = torch.from_numpy(sample.owners)
        if sample.looked_for is not None:
            looked_for[index, : len(sample.ids)] = torch.tensor(sample.looked_for)
    known = bool(located.any())
    small = [
        (row, made.small, made.scaled)
        for row, made in enumerate(one.prepared for one in samples)
        if made and made.small is not None
    ]
    return Batch(
        images,
        sizes,
        tokens,
        lengths,
        owners.long() if known else None,
        located,
        looked_for if known else None,
        small_print=SmallPrint.of(small) if small else None,
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _serpentine(sample: Sample) -> tuple[int, int, int]:
    """Order by caption length in groups, then height and width up and down in turn: neighbours are alike everywhere."""
    height, width = sample.pixels.shape
    group, step = bisect.bisect(_LENGTH_GROUPS, len(sample.ids)), height // 32
    return group, step if group % 2 else -step, width if step % 2 else -width


def _share_hands(recombiners: Sequence[Recombiner]) -> None:
    """What is recombined from one folder may be written in the hands of the others."""
    for recombiner in recombiners:
        recombiner.donors = [other for other in recombiners if other is not recombiner and len(other)]


class BatchStream(IterableDataset[Batch]):
    """Batches without end, from several sources by weight; every worker draws its own stream."""

    def __init__(
        self, sources: Sequence[Source], weights: Sequence[float], batch_size: int, seed: int, pool_batches: int = 96
    ) -> None:
        if len(sources) != len(weights) or not sources:
            raise DatasetError("BatchStream: needs one weight for each source, and at least one source.")
        self.sources = list(sources)
        self.weights = np.asarray(weights, float) / sum(weights)
        self.batch_size = batch_size
        self.seed = seed
        self.pool_batches = pool_batches

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        random = np.random.default_rng((self.seed, worker.id if worker else 0))
        _share_hands([source.recombiner for source in self.sources if source.augment.recombine])
        orders = [self._order(source, random) for source in self.sources]
        failures, most = 0, 20 + 2 * sum(map(len, self.sources))
        while True:
            pool: list[Sample] = []
            while len(pool) < self.pool_batches * self.batch_size:
                if failures > most:
                    raise DatasetError(f"The training data cannot be read: {failures} items in a row were left out.")
                chosen = int(random.choice(len(self.sources), p=self.weights))
                try:
                    pool.append(self.sources[chosen].sample(next(orders[chosen]), random))
                    failures = 0
                except (BadImage, BadInk) as error:
                    failures += 1
                    log.warning("left out: %s", error)
            batches = list(self._cut(sorted(pool, key=_serpentine)))
            random.shuffle(batches)
            yield from map(collate, batches)

    def _order(self, source: Source, random: np.random.Generator) -> Iterator[int]:
        while True:
            yield from random.permutation(len(source)).tolist()

    def _cut(self, pool: list[Sample]) -> Iterator[list[Sample]]:
        batch: list[Sample] = []
        for sample in pool:
            tallest = max([sample.pixels.shape[0], *(other.pixels.shape[0] for other in batch)])
            widest = max([sample.pixels.shape[1], *(other.pixels.shape[1] for other in batch)])
            full = len(batch) == self.batch_size or tallest * widest * (len(batch) + 1) > MAX_BATCH_AREA_PX
            if batch and full:
                yield batch
                batch = []
            batch.append(sample)
        if batch:
            yield batch


def batches_of(stream: BatchStream, workers: int) -> Iterator[Batch]:
    """The batches of a stream, made by so many processes beside this one (0: in this one)."""
    if workers:
        # Before the fork: OpenCV's threads do not survive it, and a child that puts them away waits for them for ever.
        cv2.setNumThreads(1)
    return iter(DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=48 if workers else None))
