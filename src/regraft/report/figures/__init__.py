"""One picture per file: a record's figure with its description in words and its table."""
