"""Figures that others publish, to place ours beside. Fractions from 0 to 1, as in evaluate.py's JSON.

ExpRate, <= 1 and <= 2 edits on CROHME 2014 are usually by beam search, some with rescoring in both directions, and
none of these systems uses the segmentation of strokes in training. The starting systems (S0, S1, S2) have data of their
own. None: not published there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published result; what measure and data they are is said in `note`."""

    system: str
    note: str
    exprate: float | None = None
    le1: float | None = None
    le2: float | None = None
    bleu: float | None = None  # 0 to 100
    token_accuracy: float | None = None
    levenshtein_similarity: float | None = None
    edit_distance_mean: float | None = None
    token_error_rate: float | None = None
    ms_a_formula: float | None = None


CROHME_2014 = (
    Published("WAP", "CROHME 2014", 0.4655),
    Published("DenseWAP", "CROHME 2014", 0.501),
    Published("DWAP-MSA", "CROHME 2014", 0.528),
    Published("BTTR", "CROHME 2014", 0.5396, 0.6602, 0.7028),
    Published("SAN", "CROHME 2014", 0.562),
    Published("CAN-ABM", "CROHME 2014", 0.5726),
    Published("CoMER", "CROHME 2014, without augmentation", 0.5838, 0.7448, 0.8114),
    Published("CoMER in INT8", "CROHME 2014, in a browser", 0.3641, 0.5325, 0.6582),
    Published("ICAL", "CROHME 2014", 0.6063, 0.7599, 0.8280),
    Published("TAMER", "CROHME 2014", 0.6123, 0.7677, 0.8325),
    Published("PosFormer", "CROHME 2014", 0.6268),
    Published("PosFormer, greedy", "CROHME 2014, its checkpoint measured by a third party", 0.560),
    Published("MMHMER", "CROHME 2014", 0.6396),
)
PRINTED_FORMULAS = (
    Published("im2markup", "IM2LaTeX-100k test", bleu=87.73),
    Published("ResNet + transformer, greedy", "IM2LaTeX-100k test; 3.7 M parameters, 30 minutes on a V100", bleu=82.60),
    Published("PP-FormulaNet-S", "speed on a CPU; 57 M parameters", ms_a_formula=254.0),
)
_S1 = (
    Published(
        "S1",
        "printed, 100,000 pictures, 15 epochs in 14 h; BLEU about 70; whether the distance is of characters is not said",
        bleu=70.0,
        edit_distance_mean=31.0,
    ),
    Published("S1's rival", "the same, as S1 reports it", bleu=40.0, edit_distance_mean=44.0),
)
# Which of both backbones these are of is not said. Before the clean-up, all lengths; what it does is in S2_CLEAN_UP.
_S2 = (
    Published(
        "S2, first iteration",
        "validation part of its CROHME 2019 collection (training part: 0.1998), inflated by words of structure",
        token_error_rate=0.2166,
    ),
    Published("S2, second iteration", "the same (training part: 0.4329)", token_error_rate=0.3714),
)
SYSTEMS = {
    "s0_cnn_lstm": (
        Published(
            "S0 CNN-LSTM",
            "IM2LaTeX-100k validation, 25 epochs; its BLEU is stated as 0.1539",
            bleu=15.39,
            token_accuracy=0.6256,
            levenshtein_similarity=0.2829,
        ),
    ),
    "s0_resnet50_lstm": (
        Published(
            "S0 ResNet50-LSTM",
            "IM2LaTeX-100k validation; its BLEU is stated as 0.1487",
            bleu=14.87,
            token_accuracy=0.5942,
        ),
    ),
    "s1_bahdanau": _S1,
    "s2_resnet18_ctc": _S2,
    "s2_vgg16_ctc": _S2,
}


@dataclass(frozen=True)
class PublishedCleanUp:
    """Error rates of tokens before and after a clean-up, of formulas up to the median length and of longer ones."""

    median_length: int
    short: tuple[float, float]
    long: tuple[float, float]


S2_CLEAN_UP = PublishedCleanUp(14, (0.7639, 0.2385), (0.5344, 0.3936))
