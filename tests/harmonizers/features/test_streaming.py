"""Tables larger than memory: h5py datasets and memory maps are read by blocks of columns."""

import h5py
import numpy as np
import pytest

from mrsim.harmonizers import ComBat, ComBatGAM, CovBat, TableInputError

from ..planted import cohort


@pytest.fixture
def data():
    return cohort(np.random.default_rng(5), p=40)


@pytest.fixture
def narrow(monkeypatch):
    """Blocks of 7 columns, so that 40 features need several."""
    monkeypatch.setattr(
        "mrsim.harmonizers.features.location_scale.feature_blocks",
        lambda n, p: [slice(a, min(a + 7, p)) for a in range(0, p, 7)],
    )


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("method", [ComBat(), ComBatGAM("age", n_basis=6)], ids=str)
def test_from_disk_to_disk_equals_memory(data, tmp_path, method):
    metadata = {"site": data.site.tolist(), "covariates": data.covariates}
    expected = method.fit_transform(data.X, **metadata)
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        source = file.create_dataset("features", data=data.X)
        target = file.create_dataset("harmonized", data.X.shape, "f8")
        method.fit(source, **metadata)
        widths = []
        for block, values in method.transform_blocks(source, **metadata):
            target[:, block] = values
            widths.append(values.shape[1])
        np.testing.assert_array_equal(target[:], expected)
    assert max(widths) == 7


@pytest.mark.usefixtures("narrow")
def test_memory_map_and_unseen_site(data, tmp_path):
    np.save(tmp_path / "X.npy", data.X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    metadata = {"site": data.site.tolist(), "covariates": data.covariates}
    fitted = ComBat().fit(mapped, **metadata)
    new = {**metadata, "site": ["new"] * len(data.X)}
    np.testing.assert_array_equal(
        fitted.transform(mapped, **new), ComBat().fit(data.X, **metadata).transform(data.X, **new)
    )


class Recording:
    """A table that notes how many values were asked for at once."""

    def __init__(self, values):
        self.values, self.most = values, 0
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, 2

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        part = self.values[key]
        self.most = max(self.most, part.size)
        return part


@pytest.mark.usefixtures("narrow")
def test_never_more_than_a_block_is_read(data):
    table = Recording(data.X)
    fitted = ComBat().fit(table, site=data.site.tolist())
    for _ in fitted.transform_blocks(table, site=data.site.tolist()):
        pass
    assert table.most == 7 * len(data.X)


@pytest.mark.usefixtures("narrow")
def test_missing_value_on_disk_is_found(data, tmp_path):
    data.X[3, 30] = np.nan
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        source = file.create_dataset("features", data=data.X)
        with pytest.raises(TableInputError, match="X must be finite"):
            ComBat().fit(source, site=data.site.tolist())


def test_methods_that_need_the_whole_table_read_it(data, tmp_path):
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        source = file.create_dataset("features", data=data.X)
        lazy = CovBat(n_components=4).fit_transform(source, site=data.site.tolist())
    np.testing.assert_array_equal(lazy, CovBat(n_components=4).fit_transform(data.X, site=data.site.tolist()))
