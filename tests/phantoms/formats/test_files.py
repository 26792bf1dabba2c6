import h5py
import numpy as np
import pytest

from phantoms import Phantom, PhantomFileError, read_phantom_file, save_phantom, uniform_sphere


def test_own_phantoms_are_known_whatever_their_name(tmp_path):
    p = uniform_sphere((5, 6, 7), 1e-3, 2e-3)
    save_phantom(tmp_path / "a.txt", p)
    q = read_phantom_file(tmp_path / "a.txt")
    assert isinstance(q, Phantom)
    assert np.array_equal(q.fractions, p.fractions)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x00\x01", b'{"$schema": "x"}', b"{" * 100_000])
def test_unknown_content_lists_what_is_understood(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(PhantomFileError, match=r"a\.h5: content must be .*JEMRIS.*KomaMRI.*BIfTI.*got none"):
        read_phantom_file(tmp_path / "a.h5")


def test_unknown_hdf5_says_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["dataset"] = np.zeros(3)
    with pytest.raises(PhantomFileError, match=r"HDF5 file with \['dataset'\]"):
        read_phantom_file(tmp_path / "a.h5")


def test_folders_and_absent_files(tmp_path):
    with pytest.raises(PhantomFileError, match="got a folder"):
        read_phantom_file(tmp_path)
    with pytest.raises(FileNotFoundError, match="must exist"):
        read_phantom_file(tmp_path / "none")
