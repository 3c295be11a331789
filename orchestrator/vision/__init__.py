"""Image processing on NumPy arrays and OpenCV alone, shared by training, evaluation and serving."""
