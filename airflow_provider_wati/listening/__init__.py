"""What customers do, as it arrives: by webhook or by polling."""
