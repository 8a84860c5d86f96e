"""Images in a prompt: decoded within bounds, and turned by the model's own processor into what the model reads."""
