"""Figures that others publish, to place ours beside. Fractions from 0 to 1, as in evaluate.py's JSON.

ExpRate, <= 1 and <= 2 edits on CROHME 2014 are usually by beam search, some with rescoring in both directions, and
none of these systems uses the segmentation of strokes in training. None: not published there.
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
    token_error_rate: float | None = None


CROHME_2014 = (
    Published("WAP", "CROHME 2014", 0.4655),
    Published("DenseWAP", "CROHME 2014", 0.501),
    Published("DWAP-MSA", "CROHME 2014", 0.528),
    Published("BTTR", "CROHME 2014", 0.5396, 0.6602, 0.7028),
    Published("SAN", "CROHME 2014", 0.562),
    Published("CAN-ABM", "CROHME 2014", 0.5726),
    Published("CoMER", "CROHME 2014, without augmentation", 0.5838, 0.7448, 0.8114),
    Published("ICAL", "CROHME 2014", 0.6063, 0.7599, 0.8280),
    Published("TAMER", "CROHME 2014", 0.6123, 0.7677, 0.8325),
    Published("PosFormer", "CROHME 2014", 0.6268),
    Published("MMHMER", "CROHME 2014", 0.6396),
)
SYSTEMS = {
    "s0_cnn_lstm": Published(
        "S0 CNN-LSTM",
        "IM2LaTeX-100k validation, 25 epochs; its BLEU is stated as 0.1539",
        bleu=15.39,
        token_accuracy=0.6256,
        levenshtein_similarity=0.2829,
    ),
    "s0_resnet50_lstm": Published(
        "S0 ResNet50-LSTM", "IM2LaTeX-100k validation; its BLEU is stated as 0.1487", bleu=14.87, token_accuracy=0.5942
    ),
    "s1_bahdanau": Published("S1", "printed, 100,000 pictures, 15 epochs in 14 h; BLEU about 70, on its own data", bleu=70.0),
    "s2_resnet18_ctc": Published(
        "S2", "CROHME 2019 collection of its own; error rate of long formulas after clean-up (before: 0.5344)",
        token_error_rate=0.3936,
    ),
    "s2_vgg16_ctc": Published(
        "S2", "the same: which of both backbones is not said", token_error_rate=0.3936
    ),
}  # fmt: skip
