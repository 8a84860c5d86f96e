"""The page's corner: links, files and the language, for all tabs."""
