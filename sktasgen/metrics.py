"""How good are dated labels, change dates, detections and explanations?

Label timelines are arrays of shape (n_samples, n_timesteps) of any label type;
None, NaN and other values that do not equal themselves mean "no label".
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    roc_auc_score,
)
from sklearn.utils import Bunch, check_array
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest
from sklearn.utils.multiclass import unique_labels

from ._validation import (
    ObjectArrayLike,
    as_array,
    check_label_time,
    naming,
)

# Dated labels ----------------------------------------------------------------


def timeline_accuracy(
    Y_true: ObjectArrayLike, Y_pred: ObjectArrayLike, *, mask: ArrayLike | None = None
) -> float:
    """Share of the labelled dates whose predicted label is the true one.

    Parameters
    ----------
    Y_true : array-like of shape (n_samples, n_timesteps)
        True label of each date; None or NaN where there is none.
    Y_pred : array-like of shape (n_samples, n_timesteps)
        Predicted labels.
    mask : array-like of bool of shape (n_samples, n_timesteps), default=None
        True for the dates to count; None counts all that have a true label.

    Returns
    -------
    float
        Overall accuracy, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ, no date counts, or one that counts has no
        predicted label.

    Examples
    --------
    >>> from sktasgen.metrics import timeline_accuracy
    >>> timeline_accuracy([["crop", "crop", "water", None]],
    ...                   [["crop", "water", "water", "crop"]])
    0.6666666666666666
    """
    _, truth, prediction = _counted_labels(Y_true, Y_pred, mask)
    with naming("Y_pred"):
        return float(accuracy_score(truth, prediction))


def changed_date_accuracy(
    Y_true: ObjectArrayLike,
    Y_pred: ObjectArrayLike,
    y: ObjectArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> float:
    """Accuracy on the dates whose true label is not the static one.

    These are the dates that a map made from static labels gets wrong, so the
    static label itself scores 0.

    Parameters
    ----------
    Y_true, Y_pred : array-like of shape (n_samples, n_timesteps)
        True and predicted label of each date; None or NaN in `Y_true` where
        there is none.
    y : array-like of shape (n_samples,)
        Static label of each sample. Where it is None or NaN no date of the
        sample counts as changed.
    mask : array-like of bool of shape (n_samples, n_timesteps), default=None
        True for the dates to count; None counts all that have a true label.

    Returns
    -------
    float
        Accuracy in [0, 1], NaN if no date changed.

    Raises
    ------
    ValueError
        If the shapes differ, no date counts, or one that counts has no
        predicted label.

    Examples
    --------
    >>> from sktasgen.metrics import changed_date_accuracy
    >>> Y_true = [["crop", "crop", "water", "water"]]
    >>> Y_pred = [["crop", "crop", "crop", "water"]]
    >>> changed_date_accuracy(Y_true, Y_pred, ["crop"])
    0.5
    """
    return dated_label_report(Y_true, Y_pred, y, mask=mask).changed_date_accuracy


def dated_label_report(
    Y_true: ObjectArrayLike,
    Y_pred: ObjectArrayLike,
    y: ObjectArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> Bunch:
    """Agreement of predicted with true labels over all dates.

    Parameters
    ----------
    Y_true, Y_pred : array-like of shape (n_samples, n_timesteps)
        True and predicted label of each date; None or NaN in `Y_true` where
        there is none.
    y : array-like of shape (n_samples,)
        Static label of each sample. Where it is None or NaN no date of the
        sample counts as changed.
    mask : array-like of bool of shape (n_samples, n_timesteps), default=None
        True for the dates to count; None counts all that have a true label.

    Returns
    -------
    Bunch
        With the attributes

        accuracy : float
            Overall accuracy.
        kappa : float
            Cohen's kappa; NaN where only one class occurs.
        f1_macro : float
            Mean F1 score of the classes that occur in truth or prediction.
        changed_date_accuracy : float
            Accuracy on the dates whose true label is not the static one; NaN
            if there are none.
        n_dates, n_changed_dates : int
            Number of dates that count, and of the changed ones among them.

    Raises
    ------
    ValueError
        If the shapes differ, no date counts, or one that counts has no
        predicted label.

    Examples
    --------
    >>> from sktasgen.metrics import dated_label_report
    >>> Y_true = [[0, 0, 1, 1], [1, 1, 1, 1]]
    >>> Y_pred = [[0, 0, 0, 1], [1, 1, 1, 1]]
    >>> report = dated_label_report(Y_true, Y_pred, [0, 1])
    >>> report.accuracy, report.changed_date_accuracy, report.n_changed_dates
    (0.875, 0.5, 2)
    """
    counted, truth, prediction = _counted_labels(Y_true, Y_pred, mask)
    y = as_array(y, "y")
    if y.shape != counted.shape[:1]:
        raise ValueError(
            f"y has shape {y.shape}, but Y_true has {len(counted)} samples: expected "
            f"({len(counted)},)."
        )
    static = np.broadcast_to(y[:, np.newaxis], counted.shape)[counted]
    comparable = _has_label(static)
    changed = np.zeros(len(truth), dtype=bool)
    if comparable.any():
        with naming("y"):
            static = _plain(static[comparable])
            unique_labels(truth, static)  # refuses to compare strings with numbers
            changed[comparable] = truth[comparable] != static
    with naming("Y_pred"):
        n_classes = len(unique_labels(truth, prediction))
        kappa = cohen_kappa_score(truth, prediction) if n_classes > 1 else np.nan
        accuracy = accuracy_score(truth, prediction)
        f1_macro = f1_score(truth, prediction, average="macro")
    return Bunch(
        accuracy=float(accuracy),
        kappa=float(kappa),
        f1_macro=float(f1_macro),
        changed_date_accuracy=_share((truth == prediction)[changed]),
        n_dates=int(counted.sum()),
        n_changed_dates=int(changed.sum()),
    )


class ChangeDates(NamedTuple):
    """Changes of label, ordered by sample and date, as :func:`change_dates` finds them.

    Attributes
    ----------
    sample : ndarray of shape (n_changes,) of int
        Index of the sample that changes.
    date : ndarray of shape (n_changes,) of int
        Index of the first date of the new label.
    from_label, to_label : ndarray of shape (n_changes,)
        The label before and after, of the type of the timelines.
    """

    sample: np.ndarray
    date: np.ndarray
    from_label: np.ndarray
    to_label: np.ndarray


def change_dates(Y: ObjectArrayLike) -> ChangeDates:
    """Find where label timelines change from one label to another.

    Dates without a label are passed over: a change counts at the first date
    that has the new label.

    Parameters
    ----------
    Y : array-like of shape (n_samples, n_timesteps)
        Label of each date; None or NaN where there is none.

    Returns
    -------
    ChangeDates
        A named tuple of four arrays of shape (n_changes,): ``sample``, ``date``
        (index of the first date of the new label), ``from_label``, ``to_label``.

    Raises
    ------
    ValueError
        If `Y` is not 2-D.

    Examples
    --------
    >>> from sktasgen.metrics import change_dates
    >>> sample, date, old, new = change_dates([[3, 3, 3], [1, 1, 0]])
    >>> sample, date, old, new
    (array([1]), array([2]), array([1]), array([0]))
    """
    Y = _check_timelines(Y, "Y")
    labelled = _has_label(Y)
    sample, date = np.nonzero(labelled)
    label = Y[labelled]
    same_sample = sample[1:] == sample[:-1]
    changed = same_sample & np.asarray(label[1:] != label[:-1], dtype=bool)
    return ChangeDates(
        sample[1:][changed], date[1:][changed], label[:-1][changed], label[1:][changed]
    )


def _check_timelines(Y, name):
    Y = as_array(Y, name)
    if Y.ndim != 2:
        raise ValueError(
            f"{name} has {Y.ndim} dimensions; expected 2 (n_samples, n_timesteps)."
        )
    return Y


def _counted_labels(Y_true, Y_pred, mask):
    """The dates that count, and their true and predicted labels as 1-D arrays."""
    Y_true = _check_timelines(Y_true, "Y_true")
    Y_pred = _check_timelines(Y_pred, "Y_pred")
    counted = _has_label(Y_true)
    for name, other in [("Y_pred", Y_pred), ("mask", mask)]:
        shape = None if other is None else as_array(other, name).shape
        if other is not None and shape != Y_true.shape:
            raise ValueError(
                f"{name} has shape {shape}, but Y_true has {Y_true.shape}."
            )
    if mask is not None:
        counted &= _check_bool(mask, "mask")
    if not counted.any():
        raise ValueError("No date counts: Y_true has no label, or mask is all False.")
    unpredicted = counted & ~_has_label(Y_pred)
    if unpredicted.any():
        raise ValueError(
            f"Y_pred has no label on {unpredicted.sum()} of the dates that count; "
            "leave them out with mask, or predict them."
        )
    with naming("Y_true"):
        Y_true = _plain(Y_true[counted])
    with naming("Y_pred"):
        Y_pred = _plain(Y_pred[counted])
        unique_labels(Y_true, Y_pred)  # refuses to compare strings with numbers
    return counted, Y_true, Y_pred


def _has_label(labels):
    if labels.dtype.kind != "O":
        return labels == labels
    return np.frompyfunc(_is_label, 1, 1)(labels).astype(bool)


def _is_label(value):
    equals_itself = value == value  # not so for NaN and NaT; not a bool for NA
    return isinstance(equals_itself, bool | np.bool_) and bool(
        equals_itself and value is not None
    )


def _plain(labels):
    """Labels of one type in an array of that type, which scikit-learn asks for."""
    return np.array(labels.tolist()) if labels.dtype.kind == "O" else labels


def _check_bool(array, name):
    array = as_array(array, name)
    with naming(name):
        is_bool = array.dtype.kind == "b" or np.isin(array, (0, 1)).all()
    if not is_bool:
        raise ValueError(f"{name} must be bool (or 0 and 1), got dtype {array.dtype}.")
    return array.astype(bool)


def _share(hits):
    return float(hits.mean()) if hits.size else np.nan


# Break dates -----------------------------------------------------------------


def nearest_break(Y: ObjectArrayLike, label_time: ArrayLike) -> np.ndarray:
    """One break per label timeline: the change nearest the date of the label.

    From the date of the label outwards, it is where the label first stops
    holding. A change is as far away as the nearest date that it gives another
    label: a break at ``label_time + 1``, the first date of the next label, and
    one at ``label_time`` itself, with another label until the date before, are
    equally near; of two such the earlier is taken.

    Parameters
    ----------
    Y : array-like of shape (n_samples, n_timesteps)
        Label of each date; None or NaN where there is none.
    label_time : int or array-like of int of shape (n_samples,)
        Index of the date at which each sample was labelled.

    Returns
    -------
    ndarray of shape (n_samples,) of intp
        Index of the first date of the later of the two labels; -1 for a sample
        whose label never changes.

    Raises
    ------
    TypeError
        If `label_time` is not made of integers.
    ValueError
        If `Y` is not 2-D, or `label_time` does not fit it.

    Examples
    --------
    >>> from sktasgen.metrics import nearest_break
    >>> nearest_break([[1, 1, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]], 1)
    array([ 3,  1, -1])
    """
    Y = _check_timelines(Y, "Y")
    if label_time is None:
        raise TypeError("label_time is None; expected an int or one int per sample.")
    label_time = check_label_time(label_time, *Y.shape)
    changes = change_dates(Y)
    since_label = changes.date - label_time[changes.sample]
    distance = np.where(since_label > 0, since_label, 1 - since_label)
    # The last to be written stays, so the nearest (the earliest on ties) comes last.
    order = np.lexsort((changes.date, distance))[::-1]
    breaks = np.full(len(Y), -1, dtype=np.intp)
    breaks[changes.sample[order]] = changes.date[order]
    return breaks


def break_date_error(break_true: ArrayLike, break_pred: ArrayLike) -> Bunch:
    """How far predicted breaks lie from the true ones, and which are spurious.

    Parameters
    ----------
    break_true, break_pred : array-like of int of shape (n_samples,)
        True and predicted index of the first date of the second label; -1
        where a sample has no break.

    Returns
    -------
    Bunch
        With the attributes

        median_error : float
            Median of predicted minus true break over the breaks found, in
            dates: above 0 is late. NaN if none was found.
        median_absolute_error : float
            Median of its absolute value, in dates. NaN if none was found.
        missed_share : float
            Share of the samples with a true break for which none is
            predicted. NaN if there are no such samples.
        false_share : float
            Share of the samples without a true break for which one is
            predicted. NaN if there are no such samples.

    Raises
    ------
    TypeError
        If the breaks are not integers.
    ValueError
        If they differ in length, are not 1-D, or one is below -1.

    See Also
    --------
    break_within : One figure for found, missed and misdated breaks together.

    Examples
    --------
    >>> from sktasgen.metrics import break_date_error
    >>> error = break_date_error([10, 20, 30, -1, -1], [12, 19, -1, -1, 5])
    >>> error.median_error, error.median_absolute_error
    (0.5, 1.5)
    >>> error.false_share
    0.5
    """
    break_true, break_pred = _check_breaks(break_true, break_pred)
    broken, flagged = break_true >= 0, break_pred >= 0
    error = (break_pred - break_true)[broken & flagged]
    return Bunch(
        median_error=float(np.median(error)) if error.size else np.nan,
        median_absolute_error=float(np.median(abs(error))) if error.size else np.nan,
        missed_share=_share(~flagged[broken]),
        false_share=_share(flagged[~broken]),
    )


def break_within(break_true: ArrayLike, break_pred: ArrayLike, k: float) -> float:
    """Share of the true breaks that are predicted at most `k` dates off.

    Parameters
    ----------
    break_true, break_pred : array-like of int of shape (n_samples,)
        True and predicted index of the first date of the second label; -1
        where a sample has no break.
    k : float
        Largest error that passes, in dates.

    Returns
    -------
    float
        The share over all true breaks, so that a missed break counts as wrong;
        breaks predicted for samples without one do not enter (see
        :func:`break_date_error`). NaN if there is no true break.

    Raises
    ------
    TypeError
        If the breaks are not integers, or `k` is no number.
    ValueError
        If the breaks differ in length, are not 1-D, or one is below -1; or if `k` is
        below 0.

    Examples
    --------
    >>> from sktasgen.metrics import break_within
    >>> break_within([10, 20, 30, -1], [12, 28, -1, 5], k=3)
    0.3333333333333333
    """
    break_true, break_pred = _check_breaks(break_true, break_pred)
    with naming("k"):
        if not k >= 0:
            raise ValueError(f"k={k!r}; expected a number of at least 0.")
        k = float(k)
    near = (break_pred >= 0) & (abs(break_pred - break_true) <= k)
    return _share(near[break_true >= 0])


def _check_breaks(*breaks):
    checked = []
    for name, values in zip(("break_true", "break_pred"), breaks, strict=True):
        values = as_array(values, name)
        if values.ndim != 1:
            raise ValueError(
                f"{name} has {values.ndim} dimensions; expected 1 (n_samples,)."
            )
        if values.dtype.kind not in "iu":
            raise TypeError(
                f"{name} must be integers (-1 for no break), got dtype {values.dtype}."
            )
        values = values.astype(np.int64)  # differences of unsigned ones wrap around
        if values.size and values.min() < -1:
            raise ValueError(f"{name} has {values.min()}; expected -1 or an index.")
        checked.append(values)
    if len(checked[0]) != len(checked[1]):
        raise ValueError(
            f"break_true has {len(checked[0])} samples, break_pred {len(checked[1])}."
        )
    return checked


# Detection and attribution ---------------------------------------------------


def timestep_detection_scores(changed: ArrayLike, scores: ArrayLike) -> Bunch:
    """How well scores rank changed above unchanged dates, and samples likewise.

    Parameters
    ----------
    changed : array-like of bool of shape (n_samples, n_timesteps)
        True for the dates that differ from normal.
    scores : array-like of shape (n_samples, n_timesteps)
        Scores such as those of
        :meth:`sktasgen.HTSVAEDetector.score_timesteps`: higher is further from
        normal, NaN where a date was not observed.

    Returns
    -------
    Bunch
        With the attributes

        auroc, average_precision : float
            Over all dates that have a score.
        sample_auroc, sample_average_precision : float
            Over all samples that have a score: the score of a sample is its
            highest, and a sample is changed if any of its dates is.

        AUROC is NaN unless there are both kinds; average precision is NaN
        where nothing changed.

    Raises
    ------
    ValueError
        If the shapes differ, `changed` is not bool, or `scores` has inf.

    Examples
    --------
    >>> import numpy as np
    >>> from sktasgen.metrics import timestep_detection_scores
    >>> changed = [[False, False, True], [False, False, False]]
    >>> scores = [[0.3, np.nan, 0.9], [0.4, 0.1, 0.2]]
    >>> report = timestep_detection_scores(changed, scores)
    >>> report.auroc, report.sample_auroc
    (1.0, 1.0)
    """
    changed, scores = _check_truth_and_scores(
        changed, scores, "changed", "scores", n_dims=2
    )
    scored = ~np.isnan(scores)
    highest = np.where(scored, scores, -np.inf).max(axis=1)
    any_scored = scored.any(axis=1)
    auroc, average_precision = _ranking(changed[scored], scores[scored])
    sample_auroc, sample_average_precision = _ranking(
        changed.any(axis=1)[any_scored], highest[any_scored]
    )
    return Bunch(
        auroc=auroc,
        average_precision=average_precision,
        sample_auroc=sample_auroc,
        sample_average_precision=sample_average_precision,
    )


def cell_attribution_ap(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Average precision of explanations over the observed band-date cells.

    Parameters
    ----------
    truth : array-like of bool of shape (n_samples, n_bands, n_timesteps)
        True for the cells that are anomalous.
    probabilities : array-like of shape (n_samples, n_bands, n_timesteps)
        Attribution such as that of :meth:`sktasgen.GibbsExplainer.explain`:
        higher is more anomalous, NaN where a cell was not observed.

    Returns
    -------
    float
        Average precision over all cells that have a probability; NaN where
        none of them is anomalous.

    Raises
    ------
    ValueError
        If the shapes differ, `truth` is not bool, or `probabilities` has inf.

    Examples
    --------
    >>> from sktasgen.metrics import cell_attribution_ap
    >>> truth = [[[False, True, True], [False, False, False]]]
    >>> cell_attribution_ap(truth, [[[0.1, 0.9, 0.4], [0.0, 0.5, 0.2]]])
    0.8333333333333333
    """
    truth, probabilities = _check_truth_and_scores(
        truth, probabilities, "truth", "probabilities", n_dims=3
    )
    observed = ~np.isnan(probabilities)
    return _ranking(truth[observed], probabilities[observed])[1]


def _check_truth_and_scores(truth, scores, truth_name, scores_name, n_dims):
    with naming(scores_name):
        scores = check_array(
            scores,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_2d=False,
            allow_nd=True,
            input_name=scores_name,
        )
    truth = _check_bool(truth, truth_name)
    if scores.ndim != n_dims:
        raise ValueError(
            f"{scores_name} has {scores.ndim} dimensions; expected {n_dims}."
        )
    if truth.shape != scores.shape:
        raise ValueError(
            f"{truth_name} has shape {truth.shape}, but {scores_name} has "
            f"{scores.shape}."
        )
    return truth, scores


def _ranking(truth, scores):
    """AUROC and average precision, each NaN where it is not defined."""
    auroc = average_precision = np.nan
    if truth.any():
        average_precision = float(average_precision_score(truth, scores))
        if not truth.all():
            auroc = float(roc_auc_score(truth, scores))
    return auroc, average_precision


# Areas -----------------------------------------------------------------------


def area_adjusted_accuracy(confusion: ArrayLike, mapped_area: ArrayLike) -> Bunch:
    """Accuracy and class areas of a map, from a sample stratified by map class.

    The counts of a reference sample are weighted by how much of the map each
    map class covers. So the accuracies are those of the map rather than of the
    sample, and the areas are corrected for the errors of the map.

    Parameters
    ----------
    confusion : array-like of int of shape (n_classes, n_classes)
        Number of reference samples by class on the map (rows) and true class
        (columns): ``sklearn.metrics.confusion_matrix(on_the_map, true)``.
    mapped_area : array-like of shape (n_classes,)
        Area of each class on the map, in any unit (pixels, hectares).

    Returns
    -------
    Bunch
        With the attributes, each with its standard error under the same name
        with ``_se`` at its end,

        overall_accuracy : float
            Share of the area that is mapped as what it is.
        users_accuracy : ndarray of shape (n_classes,)
            Share of the area mapped as a class that is of this class.
        producers_accuracy : ndarray of shape (n_classes,)
            Share of the area of a class that is mapped as this class. NaN for
            a class that the reference samples do not show.
        area : ndarray of shape (n_classes,)
            Area of each class, in the unit of `mapped_area`.

        and

        area_ci : ndarray of shape (n_classes, 2)
            Lower and upper end of the 95 % confidence interval of the area.

    Raises
    ------
    ValueError
        If `confusion` is not square or not made of counts, `mapped_area` has
        another length or a negative value or is 0 throughout, or a class that
        covers some of the map has no reference sample.

    Notes
    -----
    With :math:`W_i` the share of the map in class *i* and :math:`n_{ij}` the
    counts, the area shares are estimated as
    :math:`p_{ij} = W_i n_{ij} / n_{i\\cdot}`, equations 4 to 11 of [1]_ give the
    rest. The samples must be drawn at random within each map class (or over
    the whole map, when the estimates are poststratified). A standard error
    that rests on a map class with a single reference sample is NaN.

    References
    ----------
    .. [1] P. Olofsson, G. M. Foody, M. Herold, S. V. Stehman, C. E. Woodcock and
       M. A. Wulder, "Good practices for estimating area and assessing accuracy
       of land change", Remote Sensing of Environment 148, 42-57, 2014.

    Examples
    --------
    The example of [1]_: deforestation, forest gain, stable forest and stable
    other land, mapped in pixels of 0.09 ha.

    >>> import numpy as np
    >>> from sktasgen.metrics import area_adjusted_accuracy
    >>> report = area_adjusted_accuracy(
    ...     [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]],
    ...     0.09 * np.array([200_000, 150_000, 3_200_000, 6_450_000]),
    ... )
    >>> report.area.round()
    array([ 21158.,  11686., 285770., 581386.])
    >>> (1.96 * report.area_se).round()
    array([ 6158.,  3756., 15510., 16282.])
    """
    counts, mapped_area = _check_confusion(confusion, mapped_area)
    weight = mapped_area / mapped_area.sum()
    n_row = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = counts / n_row[:, np.newaxis]  # of each true class in a map class
        users = share.diagonal().copy()
        users_variance = users * (1 - users) / (n_row - 1)
        share_variance = share * (1 - share) / (n_row - 1)[:, np.newaxis]
        # A class that the map does not show weighs nothing, whatever its samples.
        absent = weight == 0
        share[absent] = share_variance[absent] = 0
        diagonal_variance = share_variance.diagonal()

        area_share = weight @ share
        area_variance = weight**2 @ share_variance
        correct = weight * share.diagonal()
        producers = correct / area_share
        omission_variance = share_variance.copy()
        np.fill_diagonal(omission_variance, 0)
        producers_variance = (
            (weight * (1 - producers)) ** 2 * diagonal_variance
            + producers**2 * (weight**2 @ omission_variance)
        ) / area_share**2

    area = mapped_area.sum() * area_share
    area_se = mapped_area.sum() * np.sqrt(area_variance)
    return Bunch(
        overall_accuracy=float(correct.sum()),
        overall_accuracy_se=float(np.sqrt((weight**2 * diagonal_variance).sum())),
        users_accuracy=users,
        users_accuracy_se=np.sqrt(users_variance),
        producers_accuracy=producers,
        producers_accuracy_se=np.sqrt(producers_variance),
        area=area,
        area_se=area_se,
        area_ci=np.column_stack([area - 1.96 * area_se, area + 1.96 * area_se]),
    )


def _check_confusion(confusion, mapped_area):
    with naming("confusion"):
        counts = check_array(confusion, dtype=np.float64, input_name="confusion")
    if counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion has shape {counts.shape}; expected a square.")
    if (counts < 0).any() or (counts % 1).any():
        raise ValueError(
            "confusion must hold counts of reference samples (integers, 0 or more), "
            "not shares."
        )
    with naming("mapped_area"):
        mapped_area = check_array(
            mapped_area, dtype=np.float64, ensure_2d=False, input_name="mapped_area"
        )
    if mapped_area.shape != counts.shape[:1]:
        raise ValueError(
            f"mapped_area has shape {mapped_area.shape}, but confusion has "
            f"{len(counts)} classes: expected ({len(counts)},)."
        )
    if (mapped_area < 0).any() or not mapped_area.any():
        raise ValueError(
            "mapped_area must be 0 or more for each class, and above 0 for some."
        )
    unsampled = (mapped_area > 0) & (counts.sum(axis=1) == 0)
    if unsampled.any():
        raise ValueError(
            f"confusion has no reference sample in row(s) {np.flatnonzero(unsampled)}, "
            "though mapped_area is above 0 there: each map class needs some."
        )
    return counts, mapped_area


# Scorers ---------------------------------------------------------------------


class _LabelTimeScorer:
    """A scorer that passes `label_time` to ``predict``.

    No subclass of scikit-learn's scorers: in multi-metric scoring these share
    their predictions by method name alone, so one that predicts at
    `label_time` and one that does not would see the same.
    """

    def __init__(self, score_func, sign, kwargs):
        self._score_func = score_func
        self._sign = sign
        self._kwargs = kwargs
        self._requests = {"label_time": True}
        if self._accept_sample_weight():
            self._requests["sample_weight"] = None

    def __call__(self, estimator, X, y, *, sample_weight=None, label_time=None):
        """Score the predictions at `label_time`.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with ``predict(X, *, label_time=None)``, or a
            pipeline or search whose last step or best estimator is one.
        X : array-like
            The series to predict.
        y : array-like of shape (n_samples,)
            True labels, each at its `label_time`.
        sample_weight : array-like of shape (n_samples,), default=None
            Passed to the metric.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Passed to ``predict``, unless None.

        Returns
        -------
        float
            The score: higher is better.
        """
        if label_time is None:
            y_pred = estimator.predict(X)
        else:
            # The predict of a search takes X alone, so ask what it would ask.
            estimator = getattr(estimator, "best_estimator_", estimator)
            y_pred = estimator.predict(X, label_time=label_time)
        kwargs = dict(self._kwargs)
        if sample_weight is not None:
            kwargs["sample_weight"] = sample_weight
        return self._sign * self._score_func(y, y_pred, **kwargs)

    def __repr__(self):
        sign = "" if self._sign > 0 else ", greater_is_better=False"
        kwargs = "".join(f", {key}={value!r}" for key, value in self._kwargs.items())
        name = getattr(self._score_func, "__name__", repr(self._score_func))
        return f"make_label_time_scorer({name}{sign}{kwargs})"

    def set_score_request(self, *, label_time=UNCHANGED, sample_weight=UNCHANGED):
        """Say which metadata a search or cross-validation passes to this scorer.

        As in scikit-learn the scorer itself is changed; make your own with
        :func:`make_label_time_scorer` rather than change those of the module.

        Parameters
        ----------
        label_time, sample_weight : bool, None or str, default=UNCHANGED
            True: pass it; False: do not; None: raise an error if it is given;
            str: pass what is given under this name.

        Returns
        -------
        self : the scorer

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing: call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        given = {"label_time": label_time, "sample_weight": sample_weight}
        given = {key: value for key, value in given.items() if value is not UNCHANGED}
        _score_requests(self, given)  # refuses what is no request
        self._requests.update(given)
        return self

    def get_metadata_routing(self):
        """The metadata that this scorer asks for (scikit-learn's protocol).

        Returns
        -------
        MetadataRequest
        """
        return _score_requests(self, self._requests)

    def _accept_sample_weight(self):
        # Asked by scikit-learn while metadata routing is off.
        return "sample_weight" in signature(self._score_func).parameters


def _score_requests(owner, requests):
    routing = MetadataRequest(owner=owner)
    for param, alias in requests.items():
        routing.score.add_request(param=param, alias=alias)
    return routing


def make_label_time_scorer(
    score_func: Callable[..., float], *, greater_is_better: bool = True, **kwargs: Any
) -> Callable[..., float]:
    """Make a scorer that predicts at the dates of the labels.

    The scorers of scikit-learn never pass `label_time` to ``predict``. So they
    compare `y` with predictions at the estimator's ``label_time_``, which is
    right only when all labels hold at that one date.

    Parameters
    ----------
    score_func : callable
        A metric ``score_func(y_true, y_pred, **kwargs)``.
    greater_is_better : bool, default=True
        False for a loss, whose sign is then flipped.
    **kwargs
        Passed to `score_func`.

    Returns
    -------
    callable
        A scorer ``scorer(estimator, X, y, *, sample_weight=None,
        label_time=None)`` for ``scoring=`` of scikit-learn's searches and
        cross-validation, alone or in a dict of several.

    Notes
    -----
    With metadata routing, ``sklearn.set_config(enable_metadata_routing=True)``,
    the scorer asks for `label_time` by itself. What predicts must be told:

    * An estimator asks for it in fit,
      ``relabeler.set_fit_request(label_time=True)``, and so the search passes it
      to both: ``GridSearchCV(relabeler, grid, scoring=label_time_accuracy).fit(X,
      y, label_time=label_time)``. An array with one index per sample is split
      with the samples, an int is passed whole.
    * As the last step of a pipeline it asks for it in predict as well,
      ``relabeler.set_fit_request(label_time=True).set_predict_request(
      label_time=True)``. If it does not the pipeline raises an error that says
      so (the search turns it into a warning and a score of NaN, unless it has
      ``error_score="raise"``).

    Without metadata routing no search passes `label_time` to a scorer, and the
    estimator predicts at its ``label_time_``: right for one date common to all
    labels.

    Examples
    --------
    >>> from sklearn.metrics import fbeta_score
    >>> from sktasgen.metrics import make_label_time_scorer
    >>> make_label_time_scorer(fbeta_score, beta=2, average="macro")
    make_label_time_scorer(fbeta_score, beta=2, average='macro')
    """
    if not callable(score_func):
        raise TypeError(f"score_func={score_func!r} cannot be called.")
    with naming("greater_is_better"):
        greater_is_better = bool(greater_is_better)
    return _LabelTimeScorer(score_func, 1 if greater_is_better else -1, kwargs)


#: Accuracy of the predictions at `label_time`.
label_time_accuracy = make_label_time_scorer(accuracy_score)
#: Mean recall of the classes, of the predictions at `label_time`.
label_time_balanced_accuracy = make_label_time_scorer(balanced_accuracy_score)
#: Mean F1 score of the classes, of the predictions at `label_time`.
label_time_f1_macro = make_label_time_scorer(f1_score, average="macro")
