"""Schedules of unfreezing. One file per kind."""
