"""Smartech's API: one call, its parameters, and what the response means."""
