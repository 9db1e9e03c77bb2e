"""Background work: the SAQ queue and its embedded twin."""
