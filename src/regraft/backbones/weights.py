"""Reading weights without running foreign code, and fitting them into a module."""

from __future__ import annotations

import pickle
import struct
import warnings
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from regraft.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_NAMED = 3
_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, or of a pickle that holds tensors alone.

    Raises:
        BackboneError: The file is missing, damaged, or a pickle with anything but tensors in it.
    """
    if not path.is_file():
        raise BackboneError("there is no such weights file. Check the path.", where=str(path))
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise BackboneError(
                f"not a readable safetensors file ({error}). Download or save it again.",
                where=str(path),
            ) from error
    try:
        with warnings.catch_warnings():
            # torch warns of newer pickle protocols before it refuses them; one sentence is enough
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise BackboneError(
            "not loaded: it holds more than plain tensors, or is damaged, and unpickling it could "
            "run foreign code. Save the weights as safetensors.",
            where=str(path),
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BackboneError(
            "expected a dictionary of tensors by name. Save module.state_dict().", where=str(path)
        )
    return state


def fit_weights(module: nn.Module, state: dict[str, torch.Tensor], *, where: str) -> list[str]:
    """Copy tensors into a module; return the names in the file that the module does not have.

    Raises:
        BackboneError: A tensor that the module needs is missing, or has another shape.
    """
    own = module.state_dict()
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(
            f"{len(missing)} of {len(own)} tensors are missing ({_some(missing)}). These are the "
            "weights of another module.",
            where=where,
        )
    misfits = [n for n in own if n in state and own[n].shape != state[n].shape]
    if misfits:
        name = misfits[0]
        raise BackboneError(
            f"{name} has shape {tuple(state[name].shape)}, the module needs "
            f"{tuple(own[name].shape)}. These are the weights of another module.",
            where=where,
        )
    module.load_state_dict({n: t for n, t in state.items() if n in own}, strict=False)
    return [n for n in state if n not in own]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
