"""Task card, verdict and record: measures applied to what is in the ledger."""
