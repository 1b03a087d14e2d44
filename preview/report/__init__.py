"""The same previews for three readers: a person at a terminal, a program, a pull request."""
