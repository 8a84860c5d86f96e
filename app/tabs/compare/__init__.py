"""The tab that compares: controls, strips and charts, and what happens on a click."""
