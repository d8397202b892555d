"""What the task of any operator does with an upload: send it once, and wait for it."""
