"""Loading backbones: the embedded zoo, Python modules, folders and hub ids of transformers."""

from __future__ import annotations

from regraft.backbones.backbone import Backbone
from regraft.backbones.python_modules import load_python, load_zoo
from regraft.errors import BackboneError


def load_backbone(
    reference: str, *, allow_python: bool = True, trust_remote_code: bool = False
) -> Backbone:
    """Load a pretrained encoder.

    Args:
        reference: ``zoo:glyphs``; ``python:package.module:factory@weights.safetensors`` or
            ``python:path/file.py:factory@weights.safetensors``; a folder saved by transformers;
            or a hub id, with a revision after ``@``.
        allow_python: Whether ``python:`` references may run code; off for references that did not
            come from the user.
        trust_remote_code: Whether code that comes with a hub model may run.

    Raises:
        BackboneError: It cannot be found, loaded or used; the message says what to do.
    """
    if reference.startswith("zoo:"):
        return load_zoo(reference)
    if reference.startswith("python:"):
        if not allow_python:
            raise BackboneError(
                "this would run Python code that you did not name yourself. Give it with "
                "--backbone if you trust it.",
                where=reference,
            )
        return load_python(reference)
    from regraft.backbones.transformers_models import load_transformers

    return load_transformers(reference, trust_remote_code=trust_remote_code)
