"""The documentation: pages in Markdown, how Sphinx makes a site of them, and what makes some of them from the code."""
