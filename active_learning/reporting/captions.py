"""How to read each figure, in words: the same in the page and in Markdown."""

from __future__ import annotations

from active_learning.api.record import CampaignRecord
from active_learning.reporting.descriptor_tables import Descriptors
from active_learning.reporting.elements import Elements
from active_learning.reporting.maps import MapMethod

__all__ = [
    "CALIBRATION",
    "DISCOVERY",
    "ELEMENTS_BEST",
    "HONESTY",
    "IMPORTANCES",
    "STOPPING",
    "correlations",
    "elements_tried",
    "errors",
    "errors_of_classes",
    "gain",
    "map_of_pool",
    "parity",
]

DISCOVERY = (
    "Each label in the order it came in. A broken line is where a round was opened: what lies to its right may have "
    "been chosen by that round’s model. Crosses at the foot are attempts that gave no label."
)
ELEMENTS_BEST = (
    "The best value among the labeled candidates that hold each element; the stronger the color, the better. An "
    "element of few candidates had few chances."
)
IMPORTANCES = "The features that told the newest model most."
CALIBRATION = (
    "Calibration. Left: labels inside the central interval of each confidence level; below the diagonal the model is "
    "too sure; the gray band is the 95 % scatter of a perfect model on the smaller sample; the area is that between "
    "curve and diagonal. Right: standardized errors beside the standard normal."
)
HONESTY = (
    "Calibration round by round, on held-out labels, as the model says it and with the correction of its std. Mean z² "
    "compares squared errors with predicted variances: 1 is right, above 1 too sure, below too cautious; a bar is its "
    "95 % interval. The dotted line is the area that chance alone makes of a perfect model."
)
STOPPING = (
    "What each stopping rule compares, at the opening of each round; “now” is after the last. The broken line is the "
    "rule’s limit: in the green it says stop. The large point is the newest value, green if it says stop."
)


def elements_tried(found: Elements) -> str:
    """Of the periodic table of what was tried."""
    unread = f" Of {found.n_unread:,} more the formula could not be read." if found.n_unread else ""
    return (
        "Labeled candidates that hold each element; the color goes with the logarithm. A candidate counts for each of "
        f"its elements.{unread}"
    )


def parity(record: CampaignRecord) -> str:
    """Of the parity plot."""
    optimism = "; those of the control, drawn at random, do not." if record.control else "."
    return (
        "Parity, with error bars of one predicted std. Out of fold: predicted by a model that was not trained on that "
        "label. Before labeling: what the model said when it chose the candidate; whoever chooses the most promising "
        f"chooses optimism too, so these tend to err on that side{optimism}"
    )


def _is_tested(record: CampaignRecord) -> bool:
    return any(r.test_metrics for r in record.rounds)


def errors(record: CampaignRecord) -> str:
    """Of the error round by round."""
    tested = ", or of the test set" if _is_tested(record) else ""
    control = (
        ", or of the control. Held-out labels are mostly those that the model chose, no fair sample of the pool; what "
        "was drawn at random is. A triangle is one label of the control beside what the model of its round had said; "
        "the broken line is their mean over all rounds, the band its 95 % interval."
        if record.control
        else "."
    )
    return f"Errors on labels that the model was not trained on: held out from training{tested}{control}"


def errors_of_classes(record: CampaignRecord) -> str:
    """Of the share of right classes round by round."""
    tested = ", or of the test set." if _is_tested(record) else "."
    control = (
        " The broken line is the control, drawn at random, over all rounds; the band is its 95 % interval."
        if record.control
        else ""
    )
    return (
        f"Share of right classes, by models that were not trained on these labels: held out from training{tested}"
        f"{control}"
    )


def correlations(found: Descriptors | None) -> str:
    """Of the correlation map."""
    is_prepared = found is not None and found.record is not None
    left_out = " Those in gray italics, with empty bars, were left out." if is_prepared else ""
    return (
        f"Correlations on the labels; like descriptors stand together.{left_out} A descriptor of a weak rank "
        "correlation may still matter: through a curve, or together with others."
    )


def map_of_pool(method: MapMethod) -> str:
    """Of the map."""
    how = (
        "Principal components of the standardized descriptors."
        if method == "pca"
        else "UMAP of the standardized descriptors: neighbors are alike, distances between groups mean little."
    )
    return f"{how} Neighbors are candidates with like descriptors; what was chosen is colored by its round."


def gain(record: CampaignRecord) -> str:
    """Of cost against gain."""
    where = "the test set" if _is_tested(record) else "held-out labels"
    return (
        "What was spent and what it brought: core time of all jobs that had ended, failed ones too, against the best "
        f"value so far and against the error of each round’s model on {where}."
    )
