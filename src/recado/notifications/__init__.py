"""Questions and support requests: put to the staff, answered, and taken back."""
