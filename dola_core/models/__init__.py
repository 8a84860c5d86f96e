"""Load a model and read any of its layers."""
