"""What runs on the board, and what the other packages share: packing, run directories, errors."""
