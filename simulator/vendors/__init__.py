"""What is each vendor's own in the simulator."""
