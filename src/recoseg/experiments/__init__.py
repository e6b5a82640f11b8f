"""The tables of the paper and its supplement, each as a study of rows that share their work."""
