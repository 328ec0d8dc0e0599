"""The public face: an SAE, its features and what fires on new text, in a few lines of a notebook."""
