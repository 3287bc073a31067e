"""Augmentation of training images. One file per kind."""
