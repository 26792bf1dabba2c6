"""JSON records of a plan back to the frozen dataclasses that they came from."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def from_record(cls: type[T], data: Mapping[str, Any]) -> T:
    """Return the dataclass whose `dataclasses.asdict` as JSON is ``data``.

    Nested dataclasses, tuples, optional values and mappings are restored from the type hints; the class's own
    checks run again.

    Raises
    ------
    ValueError
        For keys the class does not have.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"a {cls.__name__} record must not have {unknown}; its keys are {sorted(fields)}.")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _restored(hints[name], value) for name, value in data.items()})


def _restored(hint: Any, value: Any) -> Any:
    import numpy as np

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        return _restored(inner[0], value) if len(inner) == 1 else value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_record(hint, value)
    if hint is np.ndarray or origin is np.ndarray:
        return np.asarray(value)
    if origin is tuple:
        item = arguments[0] if arguments else Any
        return tuple(_restored(item, v) for v in value)
    if origin is dict and len(arguments) == 2:
        return {key: _restored(arguments[1], v) for key, v in value.items()}
    return value
