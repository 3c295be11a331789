"""What must not be lost: specimens, what people decided about them, and who did what."""
