"""What a task does with an upload, whatever its operator: send it once, and wait for it."""
