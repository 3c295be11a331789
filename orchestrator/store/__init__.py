"""What must not be lost: specimens, what persons decided about them, and who did what."""
