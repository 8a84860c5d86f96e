"""The look of the page and its own components, whatever they show."""
