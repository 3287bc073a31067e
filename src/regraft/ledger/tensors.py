"""Tensors and arrays as bytes (safetensors). Torch is loaded only where there are tensors."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as for_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

_OS_ERROR = re.compile(r"(?:os error|code:) (\d+)")
"""The number of an error of the system, as releases of safetensors print it."""


def pack(tensors: Mapping[str, Any]) -> bytes:
    """Return the bytes of tensors or arrays; those that share memory are written apart."""
    if all(isinstance(value, np.ndarray) for value in tensors.values()):
        return pack_arrays(tensors)
    from safetensors import torch as for_tensors

    data: bytes = for_tensors.save(_apart(tensors))
    return data


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write what `pack` returns to a file, without a copy of it in memory.

    Its mode is that of any new file; safetensors writes it for its owner alone.

    Raises:
        OSError: The disk is full or the file cannot be written.
    """
    with path.open("wb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    try:
        if all(isinstance(value, np.ndarray) for value in tensors.values()):
            for_arrays.save_file(_in_order(tensors), path)
        else:
            from safetensors import torch as for_tensors

            for_tensors.save_file(_apart(tensors), path)
    except SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    path.chmod(mode)


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of bytes.

    Raises:
        SafetensorError: The bytes are not safetensors.
    """
    from safetensors import torch as for_tensors

    tensors: dict[str, torch.Tensor] = for_tensors.load(data)
    return tensors


def _apart(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return contiguous tensors on the host, no two of which share memory."""
    import torch

    found: dict[str, torch.Tensor] = {}
    places = set()
    for name, value in tensors.items():
        plain = torch.as_tensor(value).detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if place in places else plain
        places.add(place)
    return found


def pack_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return the bytes of arrays."""
    data: bytes = for_arrays.save(_in_order(arrays))
    return data


def _in_order(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}


def unpack_arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of bytes.

    Raises:
        SafetensorError: The bytes are not safetensors.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = for_arrays.load(data)
    return arrays
