"""Tensors and arrays as bytes (safetensors). Torch is loaded only where there are tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def pack(tensors: Mapping[str, Any]) -> bytes:
    """Return the bytes of tensors or arrays; those that share memory are written apart."""
    if all(isinstance(value, np.ndarray) for value in tensors.values()):
        return pack_arrays(tensors)
    import safetensors.torch
    import torch

    plain = {
        name: torch.as_tensor(value).detach().cpu().contiguous().clone()
        for name, value in tensors.items()
    }
    data: bytes = safetensors.torch.save(plain)
    return data


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of bytes.

    Raises:
        SafetensorError: The bytes are not safetensors.
    """
    import safetensors.torch

    tensors: dict[str, torch.Tensor] = safetensors.torch.load(data)
    return tensors


def pack_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return the bytes of arrays."""
    data: bytes = safetensors.numpy.save(
        {name: np.asarray(value, order="C") for name, value in arrays.items()}
    )
    return data


def unpack_arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of bytes.

    Raises:
        SafetensorError: The bytes are not safetensors.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = safetensors.numpy.load(data)
    return arrays
