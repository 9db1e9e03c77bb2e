"""The simulator: a telephone network of our own."""
