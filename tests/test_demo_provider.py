"""The identity provider that a house is told of reaches its page, and no other process."""

from __future__ import annotations

from pathlib import Path

import pytest

from everbeat.demo_plan import DemoPlan, jobs
from everbeat.settings import Settings


def test_the_page_of_a_demo_knows_the_identity_provider_and_no_other_process_has_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERBEAT_OIDC_SECRET", "hush")
    plan = DemoPlan((), 1.0, None, None, 8050)
    told = {job.name: job.env.get("EVERBEAT_OIDC_SECRET") for job in jobs(Settings(tmp_path), plan)}
    assert told.pop("web") == "hush" and told and not any(told.values())
