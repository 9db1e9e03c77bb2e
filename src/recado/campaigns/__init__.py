"""Template messages: their texts in each language, and filling them in."""
