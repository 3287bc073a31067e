"""The embedded zoo: small backbones that ship with regraft."""
