"""Instagram direct messages."""
