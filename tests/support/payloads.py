"""Bodies of ping-backs that nobody thought of."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)
bodies = (
    st.binary(max_size=2000)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.text(), st.text()).map(lambda form: urlencode(form, errors="replace").encode())
    | st.sampled_from([b"[" * 60000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 5000, b"1e999", b'"\\ud800"', b"NaN"])
)
