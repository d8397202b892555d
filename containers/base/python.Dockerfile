# A stand-in for the slim image of Python, with Debian's Python.
FROM smartech-stand-in/debian
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends python3-venv \
    && apt-get clean && rm -r /var/lib/apt/lists/* \
    && python3 -m venv /usr/local/python
ENV LANG=C.UTF-8 PATH=/usr/local/python/bin:${PATH}
