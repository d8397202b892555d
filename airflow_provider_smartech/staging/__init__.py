"""Files in S3: writing them, checking them, and the URLs from which Smartech fetches them."""
