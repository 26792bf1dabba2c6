"""Saved harmonizers: what comes back, what is refused, what a reader finds after an interruption."""

import json

import numpy as np
import pytest

from mrsim.harmonizers import (
    ComBat,
    CovBat,
    FeatureHarmonizer,
    HarmonizerFileError,
    NestedComBat,
    NotFittedError,
    load_harmonizer,
    persistence,
    save_harmonizer,
)
from mrsim.harmonizers.base import Capabilities


@pytest.fixture
def fitted():
    rng = np.random.default_rng(4)
    return ComBat(reference_site="b").fit(
        rng.normal(size=(20, 5)), site=list("abcd") * 5, covariates=np.array(["x", "y"] * 9 + ["x", "x"])
    )


def test_round_trip_and_equal_bytes(fitted, tmp_path):
    first = save_harmonizer(tmp_path / "one.json", fitted)
    second = save_harmonizer(tmp_path / "two.json", load_harmonizer(first))
    a, b = (json.loads(p.read_text()) for p in (first, second))
    assert a["arrays"]["sha256"] == b["arrays"]["sha256"]
    assert a["state"] == b["state"] == {"covariate_levels_": {"covariate0": ["x", "y"]}, "n_features_in_": 5}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [first.name, second.name, a["arrays"]["file"], b["arrays"]["file"]]
    )


def test_replacing_leaves_one_pair(fitted, tmp_path):
    path = save_harmonizer(
        tmp_path / "h.json", ComBat().fit(np.arange(18.0).reshape(6, 3) ** 2, site=list("ababab"))
    )
    save_harmonizer(path, fitted)
    assert len(list(tmp_path.iterdir())) == 2
    assert load_harmonizer(path).get_params() == fitted.get_params()


def test_interrupted_save_keeps_the_old_one(fitted, tmp_path, monkeypatch):
    """Killed between the two renames: the old JSON still finds its own arrays."""
    old = ComBat(mean_only=True).fit(np.random.default_rng(0).normal(size=(9, 3)), site=list("abc") * 3)
    path = save_harmonizer(tmp_path / "h.json", old)
    replace = persistence._replace

    def dies(target, payload):
        if target.suffix == ".json":
            raise KeyboardInterrupt
        replace(target, payload)

    monkeypatch.setattr(persistence, "_replace", dies)
    with pytest.raises(KeyboardInterrupt):
        save_harmonizer(path, fitted)
    assert load_harmonizer(path).get_params() == old.get_params()


def test_unfitted_and_wrong_suffix(fitted, tmp_path):
    with pytest.raises(NotFittedError, match="must be fitted"):
        save_harmonizer(tmp_path / "h.json", ComBat())
    with pytest.raises(HarmonizerFileError, match=r"path must end with \.json; got 'h\.pkl'"):
        save_harmonizer(tmp_path / "h.pkl", fitted)


def edited(path, **changes):
    header = json.loads(path.read_text())
    header.update(changes)
    path.write_text(json.dumps(header))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "os:system"}, r"must be registered or in `classes`; got 'os:system'"),
        ({"class": "combat", "params": {"no": 1}}, r"params in 'h\.json' must fit ComBat"),
        ({"state": {"fit": 1}}, r"must be learned ones.*got 'fit'"),
        ({"state": {"__class__": 1}}, r"must be learned ones.*got '__class__'"),
        ({"arrays": {"file": "../h.npz", "sha256": ""}}, r"must name an npz file in its own folder"),
        ({"arrays": {"file": "gone.npz", "sha256": ""}}, r"'gone\.npz' must lie beside"),
        ({"format": "other"}, r"must be written by save_harmonizer"),
        ({"format_version": 99}, r"must have format version 1; got 99"),
        ({"state": []}, r"must have a key 'state' of type dict"),
    ],
)
def test_foreign_or_damaged_headers(fitted, tmp_path, changes, message):
    path = edited(save_harmonizer(tmp_path / "h.json", fitted), **changes)
    with pytest.raises(HarmonizerFileError, match=message):
        load_harmonizer(path)


def test_damaged_arrays_and_no_json(fitted, tmp_path):
    path = save_harmonizer(tmp_path / "h.json", fitted)
    arrays = next(tmp_path.glob("*.npz"))
    damaged = bytearray(arrays.read_bytes())
    damaged[200] ^= 1
    arrays.write_bytes(damaged)
    with pytest.raises(HarmonizerFileError, match="SHA-256"):
        load_harmonizer(path)
    path.write_text("{")
    with pytest.raises(HarmonizerFileError, match="must be JSON"):
        load_harmonizer(path)


class Own(FeatureHarmonizer):
    """A user's method with something learned that no file can hold."""

    capabilities = Capabilities(needs_site_labels=False, handles_unseen_site=True)

    def _learn(self, X, sites, covariates, columns):
        self.hook_ = print

    def _apply(self, X, sites, covariates):
        return X.copy()


def test_own_classes_and_unstorable_state(tmp_path):
    own = Own().fit(np.eye(3), site=list("abc"))
    with pytest.raises(HarmonizerFileError, match="hook_ must be None, bool"):
        save_harmonizer(tmp_path / "own.json", own)
    del own.hook_
    path = save_harmonizer(tmp_path / "own.json", own)
    with pytest.raises(HarmonizerFileError, match="must be registered"):
        load_harmonizer(path)
    assert isinstance(load_harmonizer(path, classes=[Own]), Own)


def test_harmonizers_inside_harmonizers(tmp_path):
    """CovBat holds two ComBats, nested ComBat a list of them; the covariates keep their order."""
    rng = np.random.default_rng(7)
    X, site = rng.normal(size=(40, 6)), list("ab") * 20
    columns = {
        "weight": rng.normal(size=40),
        "age": rng.normal(size=40),
        "kernel": np.array(list("xxyy") * 10),
    }
    for method in (CovBat(n_components=3), NestedComBat(("kernel",))):
        fitted = method.fit(X, site=site, covariates=columns)
        loaded = load_harmonizer(save_harmonizer(tmp_path / "inner.json", fitted))
        assert loaded.get_params() == fitted.get_params()
        np.testing.assert_array_equal(
            loaded.transform(X, site=site, covariates=columns),
            fitted.transform(X, site=site, covariates=columns),
        )
    header = json.loads((tmp_path / "inner.json").read_text())
    assert list(header["state"]["covariate_levels_"]) == ["weight", "age", "kernel"]


def test_foreign_class_inside(tmp_path):
    rng = np.random.default_rng(8)
    fitted = CovBat(n_components=2).fit(rng.normal(size=(20, 4)), site=list("ab") * 10)
    path = save_harmonizer(tmp_path / "h.json", fitted)
    state = json.loads(path.read_text())["state"]
    state["combat_"]["__harmonizer__"]["class"] = "os:system"
    with pytest.raises(HarmonizerFileError, match="must be registered or in `classes`; got 'os:system'"):
        load_harmonizer(edited(path, state=state))
