"""Which photos of an archive are unfit to learn from: pure formulas, measures and verdicts."""
