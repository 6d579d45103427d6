"""Without these: a search over a cluster that chooses something else."""

import joblib
import numpy as np
import pytest
from distributed import Client, LocalCluster
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.naive_bayes import GaussianNB

from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import label_time_accuracy

# Detectors that are trained so little may find all samples of a class unstable.
pytestmark = pytest.mark.filterwarnings("ignore:No sample of class")


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_grid_search_on_a_cluster_finds_the_same(client, tmp_path):
    data = make_pixel_series(60, n_bands=2, n_years=3, period=12, random_state=0)
    detector = HTSVAEDetector(period=12, max_iter=4, hidden_size=8, device="cpu")
    grid = {
        "detector__temporal_latent_size": [1, 4],
        "classifier": [GaussianNB(), "drop"],
    }

    def searched(n_jobs, memory):
        relabeler = StableSampleRelabeler(
            detector, GaussianNB(), GaussianNB(), memory=memory, random_state=0
        ).set_fit_request(label_time=True, groups=True)
        search = GridSearchCV(
            relabeler,
            grid,
            scoring=label_time_accuracy,
            cv=GroupKFold(2),
            n_jobs=n_jobs,
            error_score="raise",
        )
        field = np.arange(60) // 5
        return search.fit(data.X, data.y, label_time=data.label_time, groups=field)

    with config_context(enable_metadata_routing=True):
        alone = searched(None, None)
        with joblib.parallel_config("dask", scatter=[data.X]):
            spread = searched(-1, str(tmp_path))
    ran_on = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert sum(ran_on.values()) > 0, "the cluster had no part in it"
    for name in ("mean_test_score", "split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(alone.cv_results_[name], spread.cv_results_[name])
    assert str(alone.best_params_) == str(spread.best_params_)
    np.testing.assert_array_equal(
        alone.best_estimator_.relabel(data.X, data.y, label_time=data.label_time),
        spread.best_estimator_.relabel(data.X, data.y, label_time=data.label_time),
    )
    # Kept by the workers, for the next search.
    assert len(list(tmp_path.rglob("output.pkl"))) == 2 * 2 + 1
