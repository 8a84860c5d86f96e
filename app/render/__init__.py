"""What is shown of a trace or a search result. Pure functions: no model, no Gradio, no browser."""
