"""What a device answers, as typed documents."""
