"""What WhatsApp's Cloud API and Instagram share: one webhook, one Graph API, one table of codes."""
