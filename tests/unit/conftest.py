"""What the unit tests share."""

import pytest


@pytest.fixture
def loopback(tmp_path, monkeypatch):
    """An empty hub on loopback, asked by this process and its children, with an empty cache in tmp_path / cache."""
    from huggingface_hub import close_session, constants
    from loopback_hub import running

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with running() as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": tmp_path / "cache", "HF_HOME": tmp_path / "home"}
        for name, value in {**environment, "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, str(value))
        files = "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + files,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "home" / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield hub
        close_session()
