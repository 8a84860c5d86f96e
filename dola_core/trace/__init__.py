"""Everything recorded about a comparison, and what can be computed from it without the model."""
