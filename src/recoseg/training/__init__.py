"""ReCo+: pseudo-labels, DeepLabv3+ trained on them, and the model as a segmenter."""
