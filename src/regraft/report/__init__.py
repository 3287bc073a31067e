"""Figures, cards, HTML: made from the record alone, without torch."""
