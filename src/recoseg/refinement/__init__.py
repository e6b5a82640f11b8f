"""Refinement of score maps along the edges of the photo: PAMR and the dense CRF."""
