"""Pictures and pages: palettes, overlays, figures, plots, contact sheets."""
