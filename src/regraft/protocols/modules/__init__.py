"""Modules inserted into a backbone. One file per kind."""
