"""From class names and an archive to a concept bank: the paper's figure 2, left."""
