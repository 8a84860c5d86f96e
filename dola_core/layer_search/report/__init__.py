"""A search's result as one HTML file."""
