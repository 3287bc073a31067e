"""Backbones and protocols as Python users meet them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import yaml

from regraft.backbones.loading import load_backbone
from regraft.config.loading import validate_data
from regraft.config.protocol import ProtocolSpec, load_protocol, resolve_protocol
from regraft.config.spec import resolved
from regraft.features.store import Cache
from regraft.features.table import pooled_features, prepare_inputs
from regraft.tasks.items import items_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from regraft.backbones.backbone import Backbone as Encoder


@final
class Backbone:
    """A pretrained encoder, loaded.

    Args:
        reference: ``zoo:glyphs``; ``python:package.module:factory@weights.safetensors`` or
            ``python:path/file.py:factory@weights.safetensors``; a folder saved by transformers; or
            a hub id, with a revision after ``@``.
        trust_remote_code: Whether code that comes with a hub model may run.

    Raises:
        BackboneError: It cannot be found, loaded or used.

    Example:
        >>> Backbone("zoo:glyphs")
        Backbone('zoo:glyphs': image, 6 blocks, 128 features)
    """

    def __init__(self, reference: str, *, trust_remote_code: bool = False) -> None:
        self.encoder: Encoder = load_backbone(reference, trust_remote_code=trust_remote_code)
        self._trusts = trust_remote_code
        self.reference = self.encoder.reference
        self.kind = self.encoder.preprocess.kind
        self.blocks = self.encoder.blocks
        self.width = self.encoder.width
        self.notes = self.encoder.notes

    def __repr__(self) -> str:
        """Return a line for people."""
        return (
            f"Backbone({self.reference!r}: {self.kind}, {len(self.blocks)} blocks, "
            f"{self.width} features)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the reference: weights lie where they lay, and code is not pickled."""
        return partial(Backbone, trust_remote_code=self._trusts), (self.reference,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        """Return itself: it is never changed, and scikit-learn's `clone` copies parameters."""
        return self

    def features(self, inputs: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return pooled features, shape (n, width), float32.

        Args:
            inputs: Texts for a text backbone; image paths or decoded images (uint8) for an image
                backbone; arrays for others.

        Raises:
            DataError: An input cannot be read.
        """
        items = items_from(inputs, self.kind)
        with tempfile.TemporaryDirectory(prefix="regraft-features-") as folder:
            cache = Cache(Path(folder))
            prepared = prepare_inputs(cache, self.encoder.preprocess, items)
            return pooled_features(cache, self.encoder, prepared, items=items).copy()


@final
class Protocol:
    """A checked recipe of adaptation.

    Attributes:
        spec: What it says.
        reference: The template's name or the file, by which a study takes it; empty for one that
            was made in Python and not written yet.

    Example:
        >>> Protocol.load("lora").resolved()["modules"][0]["rank"]
        8
    """

    def __init__(self, spec: ProtocolSpec, *, reference: str = "") -> None:
        self.spec, self.reference = spec, reference

    @classmethod
    def load(cls, reference: str | Path) -> Protocol:
        """Return a template by its name, or a protocol file.

        Raises:
            ConfigError: There is none, or it is wrong.
        """
        return cls(load_protocol(str(reference)), reference=str(reference))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Protocol:
        """Return a protocol of plain data, as a protocol file holds it.

        Raises:
            ConfigError: A key, kind or value is wrong.

        Example:
            >>> Protocol.from_dict({"name": "upper", "train": {"from_depth": 0.5}}).name
            'upper'
        """
        spec = validate_data(ProtocolSpec, {"name": "unnamed", **data}, where="protocol")
        resolve_protocol(spec)
        return cls(spec)

    @property
    def name(self) -> str:
        """Its label."""
        return self.spec.name

    def __repr__(self) -> str:
        """Return a line for people."""
        return f"Protocol({self.name!r})"

    def resolved(self) -> dict[str, Any]:
        """Return it as plain JSON with every default filled in."""
        return resolve_protocol(self.spec)

    def write(self, path: str | Path) -> Protocol:
        """Write it as a YAML file that a study can name; return the protocol of that file."""
        text = yaml.safe_dump(resolved(self.spec), sort_keys=False, allow_unicode=True)
        Path(path).write_text(text, encoding="utf-8")
        return Protocol.load(Path(path).resolve())
