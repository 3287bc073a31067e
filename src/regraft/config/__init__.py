"""Reading YAML into closed specs; the folder registry. Imports no torch."""
