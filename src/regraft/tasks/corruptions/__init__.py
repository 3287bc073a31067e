"""Seeded corruptions of images, texts and sounds in five severities, for tests of robustness."""
