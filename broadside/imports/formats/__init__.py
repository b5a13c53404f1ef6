"""Files of any format: unpacked, cut into pieces, and read as records."""
