"""The reader: what it returns, and one refusal for each kind of bad file."""

import h5py
import ismrmrd.constants
import numpy as np
import pytest

from recon import AcquisitionFlag, RawDataError, read_raw

from . import synthetic
from .synthetic import Setup

SMALL = Setup(matrix=(8, 6, 2), coils=2, oversampling=2)


@pytest.fixture
def acqs():
    return synthetic.acquisitions(SMALL)


@pytest.fixture
def good(tmp_path, acqs):
    return synthetic.write(tmp_path / "good.h5", SMALL, acqs)


def rewrite(path, change):
    """Apply `change` to the array of acquisitions and store it again."""
    with h5py.File(path, "a") as file:
        data = file["dataset/data"][...]
        dtype = file["dataset/data"].dtype
        change(data)
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=data, dtype=dtype)


def rewrite_xml(path, setup=SMALL, **changes):
    with h5py.File(path, "a") as file:
        file["dataset/xml"][0] = synthetic.header_xml(setup, **changes)


def refused(path, *words):
    with pytest.raises(RawDataError) as caught:
        read_raw(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    for word in words:
        assert word in text


class TestContent:
    def test_samples_counters_and_header(self, good, acqs):
        raw = read_raw(good)
        assert len(raw.groups) == 1
        group = raw.groups[0]
        assert group.data.dtype == np.complex64
        assert group.data.flags.c_contiguous
        assert np.array_equal(group.data, np.stack([a.data for a in acqs]))
        assert raw.heads["kspace_encode_step_1"].tolist() == [a.idx.kspace_encode_step_1 for a in acqs]
        assert (raw.header.vendor, raw.header.model, raw.header.field_strength) == ("Test", "Model", 2.8949)
        assert raw.header.frequency == 123255000
        assert (raw.header.tr, raw.header.te, raw.header.ti) == ((2.3,), (0.00298,), (0.9,))
        assert raw.header.parameters == {"seed": 7.0}
        encoding = raw.header.encodings[0]
        assert encoding.encoded.matrix == (16, 6, 2)
        assert encoding.recon.fov == pytest.approx((0.20, 0.18, 0.12))
        assert encoding.limits["kspace_encoding_step_1"].center == 3

    def test_readouts_of_several_lengths_are_grouped(self, tmp_path):
        import ismrmrd

        acqs = synthetic.acquisitions(SMALL)
        short = ismrmrd.Acquisition.from_array(np.ones((2, 5), np.complex64))
        short.setFlag(ismrmrd.constants.ACQ_IS_NOISE_MEASUREMENT)
        raw = read_raw(synthetic.write(tmp_path / "a.h5", SMALL, [acqs[0], short, *acqs[1:]]))
        assert sorted(g.data.shape[2] for g in raw.groups) == [5, 16]
        assert [g.index.tolist() for g in raw.groups if g.data.shape[2] == 5] == [[1]]
        assert raw.flagged(AcquisitionFlag.NOISE).sum() == 1

    def test_flag_bits_are_those_of_the_standard(self):
        names = {
            "NOISE": "ACQ_IS_NOISE_MEASUREMENT",
            "CALIBRATION": "ACQ_IS_PARALLEL_CALIBRATION",
            "CALIBRATION_AND_IMAGING": "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING",
            "REVERSE": "ACQ_IS_REVERSE",
            "NAVIGATION": "ACQ_IS_NAVIGATION_DATA",
            "PHASE_CORRECTION": "ACQ_IS_PHASECORR_DATA",
            "HP_FEEDBACK": "ACQ_IS_HPFEEDBACK_DATA",
            "DUMMY": "ACQ_IS_DUMMYSCAN_DATA",
            "RT_FEEDBACK": "ACQ_IS_RTFEEDBACK_DATA",
            "SURFACE_COIL_CORRECTION": "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA",
            "PHASE_STABILIZATION": "ACQ_IS_PHASE_STABILIZATION",
        }
        for ours, theirs in names.items():
            assert AcquisitionFlag[ours] == 1 << (getattr(ismrmrd.constants, theirs) - 1)

    @pytest.mark.parametrize("name", ["measurement_7", "dataset"])
    def test_group_name(self, tmp_path, acqs, name):
        path = synthetic.write(tmp_path / "a.h5", SMALL, acqs, group=name)
        assert len(read_raw(path).heads) == len(acqs)
        assert len(read_raw(path, group=name).heads) == len(acqs)

    def test_column_of_acquisitions(self, good, acqs):
        with h5py.File(good, "a") as file:
            data, dtype = file["dataset/data"][...], file["dataset/data"].dtype
            del file["dataset/data"]
            file["dataset"].create_dataset("data", data=data[:, None], dtype=dtype)
        assert np.array_equal(read_raw(good).groups[0].data, np.stack([a.data for a in acqs]))


class TestFile:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such raw data file"):
            read_raw(tmp_path / "none.h5")

    def test_not_hdf5(self, tmp_path):
        path = tmp_path / "a.h5"
        path.write_bytes(b"not an HDF5 file" * 100)
        refused(path, "not a readable HDF5 file")

    def test_truncated(self, good):
        good.write_bytes(good.read_bytes()[:-3000])
        refused(good, "not a readable HDF5 file")

    def test_damaged_bytes_never_leak_other_errors(self, good, tmp_path):
        """Random damage to the headers and the tree: the file is read or refused, nothing else."""
        content, path = good.read_bytes(), tmp_path / "bad.h5"
        rng = np.random.default_rng(11)
        refusals = 0
        for _ in range(60):
            damaged = bytearray(content)
            # The superblock, groups and object headers; not chunk indices, on which HDF5 2.0 can hang.
            for at in rng.integers(0, 2400, size=6):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                read_raw(path)
            except RawDataError:
                refusals += 1
        assert refusals > 10

    def test_no_measurement(self, tmp_path):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["x"] = 1
        refused(path, "xml", "data")

    def test_two_measurements_need_a_name(self, tmp_path, acqs):
        path = synthetic.write(tmp_path / "a.h5", SMALL, acqs, group="one")
        synthetic.write(tmp_path / "b.h5", SMALL, acqs, group="two")
        with h5py.File(path, "a") as file, h5py.File(tmp_path / "b.h5") as other:
            other.copy("two", file)
        refused(path, "one", "two", "Name the group")
        assert len(read_raw(path, group="two").heads) == len(acqs)

    @pytest.mark.parametrize("link", [h5py.SoftLink("/real"), h5py.ExternalLink("other.h5", "/real")])
    def test_links(self, tmp_path, acqs, link):
        path = synthetic.write(tmp_path / "a.h5", SMALL, acqs, group="real")
        with h5py.File(path, "a") as file:
            file["dataset"] = link
        refused(path, type(link).__name__, "refused")

    @pytest.mark.parametrize("name", ["xml", "data"])
    def test_linked_member(self, good, name):
        with h5py.File(good, "a") as file:
            file.move(f"dataset/{name}", "elsewhere")
            file[f"dataset/{name}"] = h5py.SoftLink("/elsewhere")
        refused(good, "SoftLink")

    def test_external_storage(self, good, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes(b"s" * 64)
        with h5py.File(good, "a") as file:
            del file["dataset/xml"]
            file["dataset"].create_dataset("xml", (1,), "S64", external=[(str(secret), 0, 64)])
        refused(good, "external or virtual")

    def test_virtual_dataset(self, good):
        with h5py.File(good, "a") as file:
            del file["dataset/xml"]
            file["bytes"] = np.array([b"abc"])
            layout = h5py.VirtualLayout((1,), "S3")
            layout[:] = h5py.VirtualSource(file["bytes"])
            file["dataset"].create_virtual_dataset("xml", layout)
        refused(good, "external or virtual")

    def test_claimed_terabytes(self, good):
        with h5py.File(good, "a") as file:
            dtype = file["dataset/data"].dtype
            del file["dataset/data"]
            file["dataset"].create_dataset("data", (40_000_000,), dtype=dtype, chunks=(1000,))
        refused(good, "claims", "not plausible")

    def test_not_acquisitions(self, good):
        with h5py.File(good, "a") as file:
            del file["dataset/data"]
            file["dataset/data"] = np.zeros(5)
        refused(good, "head, traj, data")


class TestHeader:
    @pytest.mark.parametrize(
        "doctype",
        ['<!DOCTYPE a [<!ENTITY b "bomb">]>', '<!DOCTYPE a SYSTEM "file:///etc/hostname">', "<!DOCTYPE a>"],
    )
    def test_doctype(self, good, doctype):
        rewrite_xml(good, doctype=doctype)
        refused(good, "DOCTYPE")

    @pytest.mark.parametrize("value", ["abc", "-5", "0", "nan", "inf", ""])
    def test_frequency(self, good, value):
        rewrite_xml(good, frequency=f"<H1resonanceFrequency_Hz>{value}</H1resonanceFrequency_Hz>")
        refused(good, "H1resonanceFrequency_Hz", repr(value))

    def test_frequency_missing(self, good):
        rewrite_xml(good, frequency="")
        refused(good, "H1resonanceFrequency_Hz", "missing")

    def test_no_encoding(self, good):
        rewrite_xml(good, encoding="")
        refused(good, "no encoding")

    @pytest.mark.parametrize("value", ["0", "-4", "70000", "3.5", "x"])
    def test_matrix(self, good, value):
        text = synthetic.header_xml(SMALL).replace("<y>6</y>", f"<y>{value}</y>")
        with h5py.File(good, "a") as file:
            file["dataset/xml"][0] = text
        refused(good, "matrixSize/y")

    def test_not_xml(self, good):
        with h5py.File(good, "a") as file:
            file["dataset/xml"][0] = "<ismrmrdHeader>"
        refused(good, "not well formed")


class TestAcquisitions:
    def test_huge_header_is_refused_before_allocating(self, good):
        def change(data):
            data["head"]["number_of_samples"][3] = 65535
            data["head"]["active_channels"][3] = 60000

        rewrite(good, change)
        refused(good, "claim", "budget")

    def test_header_against_array(self, good):
        def change(data):
            data["head"]["number_of_samples"][5] = 15

        rewrite(good, change)
        refused(good, "readout 5", "promises", "'data'")

    def test_trajectory_dimensions(self, good):
        def change(data):
            data["head"]["trajectory_dimensions"][4] = 2

        rewrite(good, change)
        refused(good, "readout 4", "'traj'")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -3e30])
    def test_non_finite_samples(self, good, value):
        def change(data):
            data["data"][7][11] = value

        rewrite(good, change)
        refused(good, "readout 7", "non-finite")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("active_channels", 0),
            ("discard_pre", 16),
            ("center_sample", 16),
            ("encoding_space_ref", 1),
            ("trajectory_dimensions", 5),
            ("sample_time_us", np.nan),
        ],
    )
    def test_impossible_fields(self, good, field, value):
        def change(data):
            data["head"][field][2] = value

        rewrite(good, change)
        refused(good, "readout 2", field if field != "discard_pre" else "discard_pre + discard_post")
