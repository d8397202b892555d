"""The pages that are not in the README, and what makes one of them from the code."""
