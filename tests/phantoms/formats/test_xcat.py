import numpy as np
import pytest

from phantoms import PhantomFileError, read_phantom_file, read_xcat

LOG = """
 Phantom version

array_size = {size}
starting slice number  = 11
ending slice number    = 13
pixel width =  0.2 (cm/pixel)
slice width =  0.5 (cm/pixel)

myoLV_act = 1
bldplLV_act = 5
body_activity = 9
liver_activity = 13
rib_activity = 40
lung_activity = 16
muscle_activity = 10
"""
SHAPE = (4, 4, 3)


def frame(folder, codes, log=LOG, kind="<f4"):
    path = folder / "cine_act_1.bin"
    path.write_bytes(codes.transpose(2, 1, 0).astype(kind).tobytes())
    (folder / "cine_log").write_text(log.format(size=4))
    return path


def test_organs_become_tissues_in_their_places(tmp_path):
    codes = np.zeros(SHAPE)
    codes[0, 1, 2], codes[1, 1, 1], codes[2, 0, 0] = 1, 5, 9
    codes[3, 3, 0], codes[3, 3, 1], codes[0, 0, 0] = 10, 16, 40
    p = read_phantom_file(frame(tmp_path, codes))
    assert set(p.tissues) == {"muscle", "blood", "fat", "bone"}
    # the file runs to the left and to the back: x and y are turned
    assert sorted(np.argwhere(p.fraction("muscle")).tolist()) == [[0, 0, 0], [3, 2, 2]]
    assert np.argwhere(p.fraction("blood")).tolist() == [[2, 2, 1]]
    assert p.affine[:3, :3] == pytest.approx(np.diag([2e-3, 2e-3, 5e-3]))
    assert p.affine @ [1.5, 1.5, 1, 1] == pytest.approx([0, 0, 0, 1])
    assert p.provenance["lost"] == ["lung (no MR values)"]
    assert "no redistribution" in p.provenance["licence"]
    blood = p.properties(1.5)[p.tissues.index("blood")]
    assert (blood.t1, blood.pd) == (pytest.approx(1.2), 0.95)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("pixel width", "pixel"), "must tell 'pixel width'"),
        (lambda t: t.replace("array_size", "size"), "must tell 'array_size'"),
        (lambda t: t.replace("ending", "last"), "must tell 'ending slice number'"),
        (lambda t: t.replace("= 13", "= 3", 1), "must describe at most"),
        (lambda t: t.replace("0.2", "-0.2"), "must describe at most"),
        (lambda t: t.split("myoLV")[0], "must give codes of organs"),
    ],
)
def test_bad_logs_are_refused(tmp_path, change, message):
    path = frame(tmp_path, np.ones(SHAPE), change(LOG))
    with pytest.raises(PhantomFileError, match=rf"cine_log: .*{message}"):
        read_xcat(path)


def test_bad_frames_are_refused(tmp_path):
    path = frame(tmp_path, np.ones(SHAPE), kind="<f8")
    with pytest.raises(PhantomFileError, match=r"cine_act_1\.bin: must hold 192 bytes"):
        read_xcat(path)
    with pytest.raises(PhantomFileError, match="must be finite"):
        read_xcat(frame(tmp_path, np.full(SHAPE, np.nan)))
    with pytest.raises(PhantomFileError, match="codes of organs with MR values"):
        read_xcat(frame(tmp_path, np.full(SHAPE, 77.0)))
    with pytest.raises(PhantomFileError, match="must be named"):
        read_xcat(tmp_path / "other.bin")
    (tmp_path / "cine_log").unlink()
    with pytest.raises(FileNotFoundError, match="cine_log must exist"):
        read_phantom_file(path)
