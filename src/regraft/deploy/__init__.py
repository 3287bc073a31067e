"""From graft to predictions, and the proof that a graft predicts what its run predicted."""
