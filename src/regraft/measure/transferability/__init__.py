"""Which pretrained model will transfer: estimators from features and labels, and their judge."""
