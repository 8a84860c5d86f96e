"""DoLa-static for `transformers` models with 30 or any other number of layers, beside the plain decoder."""
