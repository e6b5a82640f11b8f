"""Films and folders of frames: masks of a segmenter, followed from frame to frame."""
