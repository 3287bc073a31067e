"""Weights of the classes in the loss. One file per kind."""
