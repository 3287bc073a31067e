"""Protocols without gradient. One file per kind."""
