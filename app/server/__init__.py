"""What stands between strangers and Gradio: the API, request checks, and Gradio's internals."""
