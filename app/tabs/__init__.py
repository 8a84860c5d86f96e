"""The tabs of the page, and what happens on each."""
