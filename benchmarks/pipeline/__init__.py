"""From Fire to the last settlement, through a whole node."""
