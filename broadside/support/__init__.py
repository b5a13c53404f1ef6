"""A bundle for whoever is asked for help: what runs, what is wrong, and no secret, no token and no text of the news."""
