"""Backbones: loading, preprocessing, blocks and roles, the depth cut."""
