"""Frozen dataclasses to CBOR bytes and back: how the twin's state is put to rest.

Only what the twin's state is made of: dataclasses, tuples, mappings with string keys, optionals, numpy arrays of
float64, float32, int64 and uint8, and plain values. Types come from the annotations, so no type name is ever read
from data.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import cbor2
import numpy as np

T = TypeVar("T")
_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("<f8", "<f4", "<i8", "|u1")}


def dump(value: Any) -> bytes:
    """`value`, a dataclass instance, as CBOR."""
    data: bytes = cbor2.dumps(_plain(value))
    return data


def load(kind: type[T], data: bytes) -> T:
    """The `kind` in `data`. Raises ValueError where the data was written by another shape of it."""
    try:
        value: T = _typed(kind, cbor2.loads(data))
    except (cbor2.CBORDecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"expected a stored {kind.__name__}, got something else ({error}); it was not used") from error
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.astype(_DTYPES[value.dtype.str]).tobytes()]
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _typed(kind: Any, raw: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(kind) if a is not type(None))
        return None if raw is None else _typed(inner, raw)
    if origin is np.ndarray or kind is np.ndarray:
        return np.frombuffer(raw[2], _DTYPES[raw[0]]).reshape(raw[1]).copy()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(*(_typed(hint, item) for hint, item in zip(hints, raw, strict=True)))
    if origin is tuple:
        return tuple(_typed(typing.get_args(kind)[0], item) for item in raw)
    if origin in (dict, Mapping):
        item_kind = typing.get_args(kind)[1]
        return {key: _typed(item_kind, item) for key, item in raw.items()}
    return raw


@cache
def _hints(kind: Any) -> tuple[Any, ...]:
    """The type of each field, in order."""
    found = typing.get_type_hints(kind)
    return tuple(found[f.name] for f in dataclasses.fields(kind))
