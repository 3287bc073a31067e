"""Grafts of LoRA alone, as the two files that plain peft reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from regraft.errors import ConfigError, GraftError
from regraft.ledger.manifest import ADAPTER, ADAPTER_CONFIG
from regraft.ledger.tensors import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

_MODULE = "module."


def adapter_files(
    protocol: Mapping[str, Any], changed: Mapping[str, Any], *, backbone: str
) -> dict[str, bytes] | None:
    """Return the files that plain peft reads; None where more than one LoRA module changed.

    Args:
        protocol: The resolved protocol.
        changed: What changed besides the head, by the names that a run leaves.
        backbone: Reference of the backbone.
    """
    modules = protocol.get("modules") or []
    is_lora = [module["kind"] for module in modules] == ["lora"]
    if not is_lora or not changed or not all(name.startswith(_MODULE) for name in changed):
        return None
    from regraft.protocols.modules.lora import Spec, peft_files  # peft takes seconds to import

    parameters = {name.removeprefix(_MODULE): value for name, value in changed.items()}
    layers = sorted({name.partition(".lora_")[0] for name in parameters})
    config, tensors = peft_files(Spec(**modules[0]), layers, parameters, backbone)
    return {
        ADAPTER: pack(tensors),
        ADAPTER_CONFIG: json.dumps(config, indent=1).encode(),
    }


def adapter_state(
    files: Mapping[str, bytes], *, where: Path
) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, Any]]:
    """Return (settings of the module, state by the names that a run leaves, peft's configuration).

    Raises:
        GraftError: The files are not a LoRA that is computed here.
    """
    from regraft.protocols.modules.lora import read_peft_files

    try:
        config = json.loads(files[ADAPTER_CONFIG])
        module, _, tensors = read_peft_files(config, unpack(files[ADAPTER]))
    except GraftError as error:
        raise GraftError(str(error), where=str(where)) from error
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, ConfigError) as error:
        raise GraftError(
            f"not a LoRA folder of peft ({type(error).__name__}: {error}). Get it again.",
            where=str(where),
        ) from error
    return module, {f"{_MODULE}{name}": value for name, value in tensors.items()}, config
