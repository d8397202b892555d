"""The connection form in Airflow's UI: one declaration, which Airflow 3.1 gets in its older format."""

from __future__ import annotations

from typing import Any

from airflow_provider_smartech.api.data_centres import ACCOUNT_NAME, DATA_CENTRES

FIELDS: dict[str, dict[str, Any]] = {
    "idc": {
        "label": "IDC",
        "description": "Smartech's data centre that holds your account: us (US), in (India) or eu (EU).",
        "schema": {
            "type": ["string", "null"],
            "enum": list(DATA_CENTRES),
            "values_display": {name: centre.label for name, centre in DATA_CENTRES.items()},
            "default": "us",
        },
    },
    "account": {
        "label": "Account",
        "description": "A short name of the account, to distinguish it from another one in the same data centre.",
        "schema": {"type": ["string", "null"], "pattern": f"^({ACCOUNT_NAME.pattern})?$"},
    },
    "listid": {
        "label": "Default list",
        "description": "Number of the Smartech list for uploads without their own list. Empty: no list.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "notifyemail": {
        "label": "Default notify e-mail",
        "description": "E-mail address that Smartech notifies of uploads without their own address. Empty: none.",
        "schema": {"type": ["string", "null"]},
    },
    "panel_url": {
        "label": "Panel URL",
        "description": "Address of your Smartech panel, for the link on each task. Empty: no link.",
        "schema": {"type": ["string", "null"]},
    },
}
"""The extras of a connection, as ``conn-fields`` of the provider info; none of them is a secret."""

BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "port", "schema", "extra"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "password": "from Smartech's panel: Admin, Sub Admin, Edit on your user name",
        "host": "empty, unless the IDC's own address is wrong",
    },
}
"""How the form shows Airflow's standard fields, as ``ui-field-behaviour`` of the provider info."""


def widgets() -> dict[str, Any]:
    """Return the extras as form widgets, for Airflow 3.1, which asks the hook for them."""
    from wtforms import IntegerField, StringField
    from wtforms.validators import any_of

    made = {}
    for name, field in FIELDS.items():
        schema = field["schema"]
        widget = IntegerField if "integer" in schema["type"] else StringField
        validators = [any_of(schema["enum"])] if "enum" in schema else []
        made[name] = widget(
            label=field["label"],
            validators=validators,
            description=field["description"],
            default=schema.get("default"),
        )
    return made


def field_behaviour() -> dict[str, Any]:
    """Return how the form shows the standard fields, for Airflow 3.1, which asks the hook for it."""
    return {name.replace("-", "_"): value for name, value in BEHAVIOUR.items()}
