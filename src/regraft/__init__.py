"""Graft a pretrained model onto your task."""
