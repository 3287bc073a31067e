"""What is computed once and read by all: stored arrays, pooled features, prefixes, solved heads."""
