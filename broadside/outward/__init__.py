"""What the node asks of the newsroom's other systems, and what they hear."""
