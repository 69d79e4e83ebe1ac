"""What people corrected: pictures, predictions and the right LaTeX, in a database, for training."""

from annotations.export import ExportCounts, Taken, write_annotations, write_corrections, write_dataset
from annotations.imports import ImportCounts, Refusal, import_annotations, import_dataset
from annotations.records import Alternative, Annotation, Change, Prediction, Reading, Reason, Saved, Selection, Status
from annotations.store import AnnotationStore

__all__ = [
    "Alternative",
    "Annotation",
    "AnnotationStore",
    "Change",
    "ExportCounts",
    "ImportCounts",
    "Prediction",
    "Reading",
    "Reason",
    "Refusal",
    "Saved",
    "Selection",
    "Status",
    "Taken",
    "import_annotations",
    "import_dataset",
    "write_annotations",
    "write_corrections",
    "write_dataset",
]
