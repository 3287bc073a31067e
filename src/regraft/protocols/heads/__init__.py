"""Heads: from pooled features to logits. One file per kind."""
