"""Files that people send: fetched once, checked, kept, listened to, and shown to the model."""
