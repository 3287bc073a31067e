"""Schedules of the learning rate. One file per kind."""
