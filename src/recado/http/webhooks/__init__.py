"""Where providers post: verify, store, answer 200. Nothing else happens here."""
