"""Labelling tools that call recoseg: CVAT, Label Studio and autodistill."""
