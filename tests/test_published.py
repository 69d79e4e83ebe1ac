"""Published figures stand as their sources have them."""

from hmer.published import CROHME_2014, PRINTED_FORMULAS, S2_CLEAN_UP, SYSTEMS, PublishedCleanUp

CROHME = {
    "WAP": (46.55,), "DenseWAP": (50.1,), "DWAP-MSA": (52.8,), "BTTR": (53.96, 66.02, 70.28), "SAN": (56.2,),
    "CAN-ABM": (57.26,), "CoMER": (58.38, 74.48, 81.14), "ICAL": (60.63, 75.99, 82.80), "TAMER": (61.23, 76.77, 83.25),
    "PosFormer": (62.68,), "PosFormer, greedy": (56.0,), "MMHMER": (63.96,), "CoMER in INT8": (36.41, 53.25, 65.82),
}  # fmt: skip


def test_crohme_2014() -> None:
    found = {item.system: (item.exprate, item.le1, item.le2) for item in CROHME_2014}
    percent = {
        name: tuple(round(100 * value, 2) for value in values if value is not None) for name, values in found.items()
    }
    assert percent == CROHME


def test_printed_formulas() -> None:
    assert [(item.system, item.bleu, item.ms_a_formula) for item in PRINTED_FORMULAS] == [
        ("im2markup", 87.73, None), ("ResNet + transformer, greedy", 82.60, None), ("PP-FormulaNet-S", None, 254.0)
    ]  # fmt: skip


def test_starting_systems() -> None:
    (cnn,), (resnet,) = SYSTEMS["s0_cnn_lstm"], SYSTEMS["s0_resnet50_lstm"]
    assert (cnn.token_accuracy, cnn.bleu, cnn.levenshtein_similarity) == (0.6256, 15.39, 0.2829)
    assert (resnet.token_accuracy, resnet.bleu) == (0.5942, 14.87)
    assert [(item.bleu, item.edit_distance_mean) for item in SYSTEMS["s1_bahdanau"]] == [(70.0, 31.0), (40.0, 44.0)]
    for name in ("s2_resnet18_ctc", "s2_vgg16_ctc"):
        first, second = SYSTEMS[name]
        assert (first.token_error_rate, second.token_error_rate) == (0.2166, 0.3714)
        assert "0.1998" in first.note and "0.4329" in second.note  # on what it was trained with
    assert PublishedCleanUp(14, (0.7639, 0.2385), (0.5344, 0.3936)) == S2_CLEAN_UP
