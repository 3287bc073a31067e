"""Prepared inputs, activations and pooled features on disk, and heads solved on them."""
