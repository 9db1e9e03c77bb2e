"""Stories: what happened to a message, from the provider's post to the last status of what it caused."""
