"""Readers of the forms in which users have their data."""
