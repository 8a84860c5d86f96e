"""Numpy arrays as fields of a pydantic model: little-endian numbers, base64 in JSON."""

import base64
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, PlainSerializer


def _decoder(dtype: str) -> Callable[[Any], np.ndarray]:
    """A validator that makes a read-only, finite 1-D array of `dtype` from base64 text or from an array."""

    def decode(value: Any) -> np.ndarray:
        if isinstance(value, str):
            raw = base64.b64decode(value, validate=True)
            if len(raw) % np.dtype(dtype).itemsize:
                raise ValueError("the array is cut off")
            value = np.frombuffer(raw, dtype=dtype)
        if not isinstance(value, np.ndarray):
            raise ValueError("an array must be numbers in base64")
        array = np.array(value.ravel(), dtype=dtype)  # a copy, so that a slice does not keep its larger source alive
        if not np.isfinite(array).all():
            raise ValueError("the array holds a number that is not finite")
        array.flags.writeable = False
        return array

    return decode


_AS_BASE64 = PlainSerializer(lambda a: base64.b64encode(a.tobytes()).decode(), return_type=str, when_used="json")

Float32 = Annotated[np.ndarray, BeforeValidator(_decoder("<f4")), _AS_BASE64]
Float16 = Annotated[np.ndarray, BeforeValidator(_decoder("<f2")), _AS_BASE64]
UInt32 = Annotated[np.ndarray, BeforeValidator(_decoder("<u4")), _AS_BASE64]
UInt16 = Annotated[np.ndarray, BeforeValidator(_decoder("<u2")), _AS_BASE64]
UInt8 = Annotated[np.ndarray, BeforeValidator(_decoder("u1")), _AS_BASE64]
