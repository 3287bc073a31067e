"""The commands of the command line: each parses, calls a verb, shows what came out."""
