"""The addresses of servers: what requests go to, who asks, and what people are shown; proxies of the environment."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models import ModelRefused
from agent.models.address import Address
from agent.models.http import HttpTransport
from envs.secrets import redact

AZURE = "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21"


def test_a_query_stays_behind_every_path_and_azure_gets_the_key_in_its_own_header() -> None:
    address = Address.of(AZURE)
    assert address is not None
    assert address.at("/chat/completions") == AZURE.replace("?", "/chat/completions?")
    assert address.headers("k") == {"Authorization": "Bearer k", "api-key": "k"}
    plain = Address.of("http://127.0.0.1:8000/v1/")
    assert plain is not None
    assert (plain.at("/models"), plain.beside("/metrics")) == (
        "http://127.0.0.1:8000/v1/models",
        "http://127.0.0.1:8000/metrics",
    )
    assert plain.headers("k") == {"Authorization": "Bearer k"}


@given(
    st.text("abcXYZ019._~!$&'()*+,;=%-", min_size=1, max_size=8).filter(lambda text: "%" not in text),
    st.text("abcXYZ019._~!$&'()*+,;=:@-", min_size=4, max_size=12),
)
def test_a_password_goes_into_a_header_and_is_not_shown(name: str, password: str) -> None:
    url = f"http://{name}:{password}#@host:8000/v1".replace("#", "")
    address = Address.of(url)
    assert address is not None
    assert (address.root, address.host) == ("http://host:8000/v1", "host")
    assert base64.b64decode(address.basic.removeprefix("Basic ")).decode() == f"{name}:{password}"
    assert redact(f"error: {url} is down") == "error: http://host:8000/v1 is down"


@pytest.mark.parametrize(
    "name", ["key", "api_key", "api-key", "access_token", "sig", "client_secret", "subscription-key"]
)
def test_a_key_in_the_query_is_not_shown(name: str) -> None:
    assert (
        redact(f"--base-url=http://h/v1?a=1&{name}=s3cr3t&b=2") == f"--base-url=http://h/v1?a=1&{name}=[redacted]&b=2"
    )


@pytest.mark.parametrize(
    "url",
    [
        *("http://alice:s3cr3t/x@host:1/v1", "alice:s3cr3t@host/v1", "ftp://alice:s3cr3t@host"),
        *("http://alice:s3cr3t@host/\x1b[31m", "http://alice:s3cr3t@host/" + "v" * 70_000),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ModelRefused, match="--base-url") as caught:
            await HttpTransport(url, None).get("/models", 1.0)
        assert "s3cr3t" not in str(caught.value)
        assert len(str(caught.value)) < 500

    asyncio.run(main())


@pytest.mark.parametrize("proxy", ["socks://127.0.0.1:9", "http://[::1", "foo://alice:s3cr3t@h:1", "http://h:port"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_refused_with_the_remedy(
    proxy: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> str:
        transport = HttpTransport("http://192.0.2.1:9/v1", None)
        with pytest.raises(ModelRefused) as caught:
            await transport.get("/models", 1.0)
        return str(caught.value)

    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, proxy)
    said = asyncio.run(main())
    assert said.startswith(f"the proxy that {variable} names cannot be used")
    assert "NO_PROXY" in said
    assert "s3cr3t" not in said


def test_certificates_that_cannot_be_read_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/certificates.pem")
    with pytest.raises(ModelRefused, match="SSL_CERT_FILE"):
        asyncio.run(HttpTransport("https://192.0.2.1:9/v1", None).get("/models", 1.0))
