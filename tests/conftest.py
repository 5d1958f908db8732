"""What the tests share: where the recordings are, and what to say when they are not."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# One thread for each matrix, as the engine has it: two that wait for each other on busy cores took five times as long.
# Read when numpy and torch are loaded, which is after this file.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

hypothesis.settings.register_profile("house", deadline=None)  # a busy machine is no fault of what is tested
hypothesis.settings.load_profile("house")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_path(relative: str) -> Path:
    """A file beside the project, or skip: recordings and vectors are never copied into it."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs ../shared/{relative}, which is not beside this checkout")
    return path


@pytest.fixture
def shared():  # type: ignore[no-untyped-def]
    """`shared("data/...")` gives the path, or skips the test with the reason."""
    return shared_path


@pytest.fixture(scope="session")
def generator():  # type: ignore[no-untyped-def]
    """The packaged generative model, loaded once."""
    from twin_engine.model import Generator

    return Generator.load()


@pytest.fixture
def redis_server(tmp_path_factory):  # type: ignore[no-untyped-def]
    """A real Redis with our ACL users, on a unix socket, for one test: (files, process)."""
    import shutil
    import tempfile
    import time

    from twin_engine.store.connection import connect
    from twin_engine.store.errors import StoreDown
    from twin_engine.store.server import prepare, start

    directory = Path(tempfile.mkdtemp(prefix="eb-"))  # a unix socket's path must be short
    files = prepare(directory)
    process = start(files)
    for _ in range(1000):  # 20 s: a machine may be busy
        try:
            connect(files.login("keeper")).close()
            break
        except StoreDown:
            time.sleep(0.02)
    yield files, process
    process.kill()
    process.wait()
    shutil.rmtree(directory, ignore_errors=True)


CHROMIUM_ARGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")  # while playwright runs, no other event loop can
def browser():  # type: ignore[no-untyped-def]
    """Headless chromium: Debian's, else playwright's own; without any the test skips and says so."""
    import shutil

    sync_api = pytest.importorskip("playwright.sync_api")
    own = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_api.sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=own, headless=True, args=CHROMIUM_ARGS)
        except sync_api.Error as error:
            pytest.skip(f"NO BROWSER: needs chromium, got {str(error).splitlines()[0]}; install it by apt")
        yield running
        running.close()
