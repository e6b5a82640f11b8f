"""Score maps that follow the edges of the photo: PAMR and the dense CRF."""
