"""Runs one protocol on one backbone and one task: pre-flight, training, checkpoint and resume."""
