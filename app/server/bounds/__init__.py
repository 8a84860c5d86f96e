"""Bounds on what strangers can make the server hold, in sum and for each address."""
