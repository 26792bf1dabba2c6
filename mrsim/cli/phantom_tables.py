"""What `mrsim phantom info` prints of a phantom or a cloud of points."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .tables import console, print_record, table

if TYPE_CHECKING:
    import numpy as np

    from phantoms import Phantom, PointCloud

MAX_ROWS = 60
_VOLUMES = {"volumes_ml": "achieved", "target_ml": "asked for", "expected_ml": "planted law"}
_TISSUES = ("tissue", "volume", "T1", "T2", "T2*", "PD", "chi", "ADC", "shift", "values")


def print_phantom(phantom: "Phantom", b0: float, *, full: bool = False) -> None:
    """Print grid, tissues with values at a field, regions, truth and provenance; all of them if `full`."""
    edges = " x ".join(f"{1e3 * e:.4g}" for e in phantom.voxel_size)
    counts = " x ".join(map(str, phantom.shape))
    center = phantom.affine @ [*((n - 1) / 2 for n in phantom.shape), 1.0]
    record: dict[str, Any] = {
        "grid": f"{counts} voxels of {edges} mm, centre at {_point(center[:3])} mm",
        "axes": _axes(phantom.affine),
        "tissues": len(phantom.tissues),
        "filled": f"{_volume(sum(phantom.volumes().values()))}",
        "diffusion": "" if phantom.diffusion is None else "compartments and fibres",
        "texture": "" if phantom.texture is None else f"relative SD {_spread(phantom):.3g}",
        "map from template": "" if phantom.transform is None else "velocity field",
    }
    print_record(phantom.name, record)
    print()
    shown = table(f"Tissues at {b0:g} T (ms, ppm, 1e-9 m2/s)", _TISSUES, right=_TISSUES[1:-1])
    volumes = phantom.volumes()
    for p in sorted(phantom.properties(b0), key=lambda p: -volumes[p.name]):
        shown.add_row(
            p.name, _volume(volumes[p.name]), _ms(p.t1), _ms(p.t2), _ms(p.t2_star), f"{p.pd:.3g}",
            f"{p.chi:.3g}", f"{1e9 * p.adc:.3g}", f"{p.shift_ppm:.3g}",
            "verified" if p.verified else "not verified",
        )  # fmt: skip
    console().print(shown)
    if full:
        _carried(phantom, b0)
    _regions(phantom)
    truth = dict(phantom.truth) if full else _volumes(phantom.truth)
    for title, block in (("Truth", truth), ("Provenance and licence", phantom.provenance)):
        if block:
            print_record(title, block if full else _shortened(block))
        else:
            console().print(f"[bold]{title}[/]\nnone in the file")
        print()


def print_cloud(cloud: "PointCloud") -> None:
    """Print points, values, fields, movement and provenance."""
    low, high = cloud.position.min(axis=0), cloud.position.max(axis=0)
    voxel = "none: points without extent"
    if cloud.voxel is not None:
        voxel = (
            " x ".join(f"{1e3 * float((cloud.voxel[:, k] ** 2).sum()) ** 0.5:.4g}" for k in range(3)) + " mm"
        )
    record: dict[str, Any] = {
        "points": f"{cloud.size:,}",
        "from": f"{_point(low)} mm",
        "to": f"{_point(high)} mm",
        "voxel": voxel,
        "field": "not stated" if cloud.b0 is None else f"{cloud.b0:g} T",
        "transmit channels": len(cloud.b1),
        "receive channels": cloud.coils,
        "movement": "none" if cloud.motion is None else _movement(cloud),
        "bound pool": "none" if cloud.bound is None else f"yes, {cloud.bound.lineshape.replace('_', '-')}",
    }
    print_record(cloud.name, record)
    print()
    columns = ("value", "lowest", "highest", "different")
    shown = table("Values of the points", columns, right=columns[1:])
    for name, unit, scale, values in (
        ("density", "", 1.0, cloud.m0), ("T1", "ms", 1e3, cloud.t1), ("T2", "ms", 1e3, cloud.t2),
        ("T2'", "ms", 1e3, cloud.t2_prime), ("off-resonance", "Hz", 1.0, cloud.df),
        ("ADC", "1e-9 m2/s", 1e9, cloud.adc),
    ):  # fmt: skip
        shown.add_row(
            f"{name} {unit}".strip(),
            _number(values.min() * scale),
            _number(values.max() * scale),
            _kinds(values),
        )
    console().print(shown)
    print_record("Source", _shortened(cloud.source))


def print_options(name: str) -> None:
    """Print the options of a phantom of the library with their defaults."""
    from phantoms import describe_phantom

    print_record("Options (make --set KEY=VALUE, SI units)", describe_phantom(name).options)


def print_lines(kind: str, lines: Iterable[str]) -> None:
    """Print lines that begin with their kind (lost, note)."""
    for line in lines:
        print(f"{kind}: {line}")


def _carried(phantom: "Phantom", b0: float) -> None:
    """Print the values that no engine uses with a tissue table."""
    columns = ("tissue", "chi+", "chi-", "M0b", "R", "T1b", "T2b", "pool")
    shown = table("Also held, not simulated (ppm, 1/s, ms, us)", columns, right=columns[1:-1])
    for p in phantom.properties(b0):
        parts = [f"{v:.4g}" if v is not None else "" for v in (p.chi_plus, p.chi_minus)]
        pool = [""] * 5
        if (s := p.semisolid) is not None:
            told = "verified" if s.verified else "not verified"
            pool = [f"{s.ratio:.3g}", f"{s.rate:.3g}", _ms(s.t1), f"{1e6 * s.t2:.3g}", told]
        shown.add_row(p.name, *parts, *pool)
    console().print(shown)


def _regions(phantom: "Phantom") -> None:
    if phantom.labels is None or not phantom.regions:
        return
    import numpy as np

    counts = np.bincount(phantom.labels.ravel().clip(0), minlength=max(phantom.regions) + 1)
    shown = table("Region labels", ("label", "region", "volume"), right=("label", "volume"))
    for label, name in sorted(phantom.regions.items())[:MAX_ROWS]:
        shown.add_row(str(label), name, _volume(float(counts[label]) * phantom.voxel_volume))
    console().print(shown)


def _volumes(truth: dict[str, Any]) -> dict[str, Any]:
    """Print the regional volumes of a subject as a table; return the rest of the truth."""
    kinds = [k for k in _VOLUMES if isinstance(truth.get(k), dict)]
    if len(kinds) < 2:
        return truth
    shown = table("Regional volumes (mL)", ("region", *(_VOLUMES[k] for k in kinds)), right=_VOLUMES.values())
    for region in truth[kinds[0]]:
        cells = [truth[k].get(region) for k in kinds]
        shown.add_row(region, *("" if c is None else f"{c:.4g}" for c in cells))
    console().print(shown)
    return {k: v for k, v in truth.items() if k not in kinds}


def _shortened(block: dict[str, Any]) -> dict[str, Any]:
    """Return plain data with long lists, tables of tables and texts told by their length."""
    out: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, dict):
            deep = sum(isinstance(v, dict) for v in value.values())
            out[key] = f"{deep} tables (--full shows them)" if deep > 3 else _shortened(value)
        elif isinstance(value, str) and value.count("\n") > 2:
            out[key] = (
                f"{value.strip().splitlines()[0]} ... ({len(value.splitlines())} lines, --full shows them)"
            )
        elif isinstance(value, list | tuple) and len(value) > 12:
            out[key] = f"{len(value)} entries"
        elif isinstance(value, float):
            out[key] = f"{value:.6g}"
        else:
            out[key] = value
    return out


def _movement(cloud: "PointCloud") -> str:
    motion = cloud.motion
    assert motion is not None
    actions = getattr(motion, "actions", None)
    names = type(motion).__name__ if actions is None else ", ".join(type(a).__name__ for a in actions)
    return f"{names} ({'rigid' if motion.is_rigid else 'deforms'})"


def _axes(affine: "np.ndarray[Any, Any]") -> str:
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(affine))


def _spread(phantom: "Phantom") -> float:
    assert phantom.texture is not None
    return float(phantom.texture[phantom.fractions.sum(axis=0) > 0.5].std())


def _kinds(values: "np.ndarray[Any, Any]") -> str:
    import numpy as np

    return f"{np.unique(values).size:,}"


def _number(value: float) -> str:
    return "inf" if value == float("inf") else f"{value:.4g}"


def _point(where: Any) -> str:
    # Nanometres are round-off; + 0.0 takes the sign of zero away.
    return "(" + ", ".join(f"{round(1e3 * float(v), 6) + 0.0:.4g}" for v in where) + ")"


def _ms(seconds: float) -> str:
    return "inf" if seconds == float("inf") else f"{1e3 * seconds:.4g}"


def _volume(cubic_metres: float) -> str:
    return f"{cubic_metres * 1e6:,.4g} mL"
