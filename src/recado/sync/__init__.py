"""The TypeScript conversation API: its client, and what keeps it in step."""
