"""The doctor: walks the whole chain from the settings to a ping-back, and says what it saw and what to do."""

from __future__ import annotations

from airflow_provider_smartech.doctor.examination import examine

__all__ = ["examine"]
