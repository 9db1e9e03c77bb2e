"""WhatsApp through Twilio: form posts in, REST calls out."""
