"""Files in S3: writing them, checking them, and the URLs that lead Smartech to them."""
