"""Tasks: intake of the user's data, splits, sealing, fingerprints, augmentation, rebalancing."""
