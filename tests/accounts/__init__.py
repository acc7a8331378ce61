"""Users: signing up and in, their browser sessions, and what is kept about them."""
