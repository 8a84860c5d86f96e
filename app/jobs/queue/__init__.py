"""The queue before the model, and who waits in it."""
