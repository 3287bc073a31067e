"""Runs one protocol on one backbone and one task: pre-flight, training loop, checkpoint and resume."""
